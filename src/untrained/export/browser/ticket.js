// Reads a ticket, as docs/format.md describes it: the seed and the codes become weights, and every hash is checked.

// ---------------------------------------------------------------- the file
const storage = new Map(
  Object.entries({
    BOOL: ["bool", 1], U8: ["uint8", 1], I8: ["int8", 1], I16: ["int16", 2], U16: ["uint16", 2], I32: ["int32", 4],
    U32: ["uint32", 4], I64: ["int64", 8], U64: ["uint64", 8], F16: ["float16", 2], BF16: ["bfloat16", 2],
    F32: ["float32", 4], F64: ["float64", 8], C64: ["complex64", 8], F8_E4M3: ["float8_e4m3fn", 1],
    F8_E5M2: ["float8_e5m2", 1], F8_E8M0: ["float8_e8m0fnu", 1], F8_E4M3FNUZ: ["float8_e4m3fnuz", 1],
    F8_E5M2FNUZ: ["float8_e5m2fnuz", 1],
  })
);
const naturals = (value) => kindOf(value) === "list" && value.every(integer(0));

// The place of a stored tensor, checked.
function placed([name, line]) {
  if (kindOf(line) !== "object") refuse(`'${name}' is described by ${shown(line)}`);
  const { dtype, shape, data_offsets: offsets } = line;
  if (!storage.has(dtype)) refuse(`'${name}' is of the unknown type ${shown(dtype)}`);
  if (!naturals(shape) || countOf(shape) >= 2n ** 62n) refuse(`'${name}' has an impossible shape`);
  if (!naturals(offsets) || offsets.length !== 2) refuse(`'${name}' has an impossible place`);
  const [spelled, size] = storage.get(dtype);
  const [start, end] = offsets;
  const bytes = shape.reduce((total, side) => total * side, BigInt(size));
  if (end - start !== bytes) refuse(`'${name}' is not as many bytes as its shape asks for`);
  return { name, dtype: spelled, shape, start, end };
}

// The stored tensors by name, and the text of the header.
function readFile(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = bytes.length < 8 ? Infinity : Number(view.getBigUint64(0, true));
  if (8 + size > bytes.length) refuse("it is cut off");
  if (size > 1e8) refuse("its index is larger than 100 MB");
  let index;
  try {
    index = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(8, 8 + size));
  } catch {
    refuse("its index is not UTF-8");
  }
  const { whole } = readJson(index, false);
  if (kindOf(whole) !== "object") refuse("its index is not an object");
  const metadata = whole.__metadata__;
  delete whole.__metadata__;
  if (kindOf(metadata) !== "object" || typeof metadata.untrained !== "string") refuse("its metadata have no 'untrained'");
  if (!Object.values(metadata).every(isA("string"))) refuse("its metadata are not all text");
  const data = bytes.subarray(8 + size);
  const stored = Object.create(null);
  let at = 0n;
  const places = Object.entries(whole).map(placed);
  for (const { name, start, end, ...rest } of places.sort((a, b) => Number(a.start - b.start || a.end - b.end))) {
    if (start !== at) refuse(`'${name}' does not begin where the tensor before it ends`);
    at = end;
    stored[name] = { ...rest, data: data.subarray(Number(start), Number(end)) };
  }
  if (at !== BigInt(data.length)) refuse(at > data.length ? "it is cut off" : "it holds more than its tensors");
  return { stored, text: metadata.untrained };
}

// Stored tensors must be codes of masked tensors, or extras with other names.
function checkStored(stored, tensors) {
  const wanted = Object.keys(tensors).filter((name) => tensors[name].method);
  for (const name of wanted) if (!(`codes/${name}` in stored)) refuse(`the codes of '${name}' are missing`);
  const codes = new Set(wanted.map((name) => `codes/${name}`));
  for (const name of Object.keys(stored)) {
    if (!codes.has(name) && !name.startsWith("extra/")) refuse(`'${name}' is stored and not named in the header`);
    if (name.slice(6) in tensors && name.startsWith("extra/")) refuse(`'${name.slice(6)}' is both stored and drawn`);
  }
}

function checkHash(head, rest, stored) {
  const hash = new Sha256().add(utf8(rest));
  for (const name of ascending(stored)) {
    const { dtype, shape, data } = stored[name];
    hash.add(utf8(`\n${name} ${dtype} ${shape.join(",")}\n`)).add(data);
  }
  if (hash.hex() !== head.sha256) refuse("its contents do not have the sha256 in its header");
}

// ---------------------------------------------------------------- codes
function codesOf(name, entry, count, stored) {
  const { values, counts, coding } = entry;
  const wrong = (why) => refuse(`the codes of '${name}': ${why}`);
  if (stored.dtype !== "uint8" || stored.shape.length !== 1) wrong("not a row of bytes");
  const { data } = stored;
  if (values.length !== counts.length) wrong("not one count for each value");
  if (counts.reduce((sum, n) => sum + n, 0n) !== BigInt(count)) wrong("their counts do not add up to the shape");
  const codes = new Int8Array(count);
  const seen = new Float64Array(values.length);
  const put = (i, symbol) => {
    if (symbol >= values.length) wrong("a symbol beyond the values");
    seen[symbol]++;
    codes[i] = values[symbol];
  };
  if (coding === "bits") readBits(data, count, Math.ceil(Math.log2(Math.max(1, values.length))), put, wrong);
  else if (values.length < 2) wrong("no entropy coding for fewer than two values");
  else readAns(data, counts, put, wrong);
  if (counts.some((n, i) => Number(n) !== seen[i])) wrong("they do not occur as often as in the header");
  return codes;
}

function readBits(data, count, width, put, wrong) {
  if (data.length !== Math.ceil((count * width) / 8)) wrong("bytes missing or left over");
  const bit = (b) => (data[Math.floor(b / 8)] >> b % 8) & 1;
  for (let i = 0, b = 0; i < count; i++) {
    let symbol = 0;
    for (let k = 0; k < width; k++) symbol |= bit(b++) << k;
    put(i, symbol);
  }
  for (let b = count * width; b < 8 * data.length; b++) if (bit(b)) wrong("padding that is not 0");
}

function readAns(data, counts, put, wrong) {
  const total = counts.reduce((sum, n) => sum + n);
  const count = Number(total);
  const frequencies = counts.map((n) => Math.max(1, Number((n << 24n) / total)));
  const most = counts.reduce((best, n, i) => (n > counts[best] ? i : best), 0);
  frequencies[most] += 2 ** 24 - frequencies.reduce((sum, f) => sum + f);
  const starts = [0];
  for (const f of frequencies) starts.push(starts[starts.length - 1] + f);
  const stream = new AnsStream(data, wrong);
  for (let i = 0; i < count; i++) put(i, stream.next(starts));
  stream.close();
}

// Symbols of known frequencies. The state has 64 bits: two halves, so that no product leaves the 53 bits of a number.
class AnsStream {
  constructor(data, wrong) {
    [this.words, this.left, this.wrong] = [new DataView(data.buffer, data.byteOffset, data.byteLength), data.length, wrong];
    if (this.left % 4 || !this.left || !this.words.getUint32(this.left - 4, true)) {
      wrong("they do not end in a word that is not 0");
    }
    [this.high, this.low] = [0, 0];
    while (this.refill());
  }

  refill() {
    if (this.high !== 0 || this.left <= 0) return false;
    this.high = this.low;
    this.low = this.words.getUint32((this.left -= 4), true);
    return true;
  }

  // The next symbol: that of the interval of `starts` in which the state's low 24 bits lie.
  next(starts) {
    const q = this.low % 2 ** 24;
    let symbol = 0;
    while (starts[symbol + 1] <= q) symbol++;
    const rest = this.high * 256 + Math.floor(this.low / 2 ** 24);
    const f = starts[symbol + 1] - starts[symbol];
    const upper = Math.floor(rest / 2 ** 16) * f;
    const sum = (upper % 2 ** 16) * 2 ** 16 + (rest % 2 ** 16) * f + q - starts[symbol];
    this.high = Math.floor(upper / 2 ** 16) + Math.floor(sum / 2 ** 32);
    this.low = sum % 2 ** 32;
    this.refill();
    return symbol;
  }

  close() {
    if (this.high || this.low || this.left) this.wrong("something is left over");
  }
}
