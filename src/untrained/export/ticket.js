// Reads a ticket, as docs/format.md describes it: the seed and the codes become weights, and every hash is checked.

// ---------------------------------------------------------------- sha256
// A page that is opened as a file has no crypto.subtle in every browser.
const [sha256Start, sha256Rounds] = (() => {
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
  const fraction = (x) => ((x - Math.floor(x)) * 2 ** 32) | 0;
  return [primes.slice(0, 8).map((p) => fraction(Math.sqrt(p))), primes.map((p) => fraction(Math.cbrt(p)))];
})();

class Sha256 {
  constructor() {
    this.state = Int32Array.from(sha256Start);
    this.block = new Uint8Array(64);
    this.filled = 0;
    this.bytes = 0;
    this.words = new Int32Array(64);
  }

  add(bytes) {
    this.bytes += bytes.length;
    for (let at = 0; at < bytes.length; ) {
      const part = Math.min(64 - this.filled, bytes.length - at);
      this.block.set(bytes.subarray(at, at + part), this.filled);
      this.filled += part;
      at += part;
      if (this.filled === 64) this.turn();
    }
    return this;
  }

  turn() {
    const { words: w, block: b, state: s } = this;
    for (let i = 0; i < 16; i++) w[i] = (b[4 * i] << 24) | (b[4 * i + 1] << 16) | (b[4 * i + 2] << 8) | b[4 * i + 3];
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15];
      const y = w[i - 2];
      const low = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const high = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = (w[i - 16] + low + w[i - 7] + high) | 0;
    }
    let [p, q, r, t, e, f, g, h] = s;
    for (let i = 0; i < 64; i++) {
      const up = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const one = (h + up + ((e & f) ^ (~e & g)) + sha256Rounds[i] + w[i]) | 0;
      const down = ((p >>> 2) | (p << 30)) ^ ((p >>> 13) | (p << 19)) ^ ((p >>> 22) | (p << 10));
      const two = (down + ((p & q) ^ (p & r) ^ (q & r))) | 0;
      [h, g, f, e, t, r, q, p] = [g, f, e, (t + one) | 0, r, q, p, (one + two) | 0];
    }
    [p, q, r, t, e, f, g, h].forEach((word, i) => (s[i] += word));
    this.filled = 0;
  }

  digest() {
    const bits = this.bytes * 8;
    const end = new Uint8Array((this.filled < 56 ? 64 : 128) - this.filled);
    end[0] = 0x80;
    const view = new DataView(end.buffer);
    view.setUint32(end.length - 8, Math.floor(bits / 2 ** 32));
    view.setUint32(end.length - 4, bits % 2 ** 32);
    this.add(end);
    const out = new DataView(new ArrayBuffer(32));
    this.state.forEach((word, i) => out.setInt32(4 * i, word));
    return new Uint8Array(out.buffer);
  }

  hex() {
    return Array.from(this.digest(), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
}

const utf8 = (text) => new TextEncoder().encode(text);
const refuse = (why) => {
  throw new Error(`This ticket is damaged: ${why}`);
};

// ---------------------------------------------------------------- canonical JSON
const codePoints = (one, other) => {
  const [a, b] = [Array.from(one), Array.from(other)];
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (a[i] !== b[i]) return a[i].codePointAt(0) - b[i].codePointAt(0);
  }
  return a.length - b.length;
};
const ascending = (object) => Object.keys(object).sort(codePoints);

function writtenText(text) {
  const escaped = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text).replace(/[\x7f-\uffff]/g, escaped);
}

function writtenFloat(x) {
  const [digits, power] = x.toExponential().split("e");
  if (x !== 0 && (power < -4 || power >= 16)) return `${digits}e${power[0]}${power.slice(1).padStart(2, "0")}`;
  const text = Object.is(x, -0) ? "-0" : String(x);
  return text.includes(".") ? text : `${text}.0`;
}

// Reads JSON that is written in the one allowed way, and notes where the members of the outermost object lie.
function readCanonical(text) {
  let at = 0;
  let depth = 0;
  const spans = Object.create(null);
  const wrong = () => refuse(`its header is not canonical JSON, at character ${at}`);
  const take = (pattern) => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) at = pattern.lastIndex;
    return match;
  };
  const expect = (character) => (text[at] === character ? at++ : wrong());
  const string = () => {
    const match = take(/"(?:[ !#-[\]-~]|\\(?:["\\bfnrt]|u[0-9a-f]{4}))*"/y) || wrong();
    const value = JSON.parse(match[0]);
    return writtenText(value) === match[0] ? value : wrong();
  };
  const list = (open, close, item) => {
    expect(open);
    if (++depth > 100) wrong();
    if (text[at] !== close) {
      item();
      while (text[at] === ",") {
        at++;
        item();
      }
    }
    expect(close);
    depth--;
  };
  const value = () => {
    if (text[at] === '"') return string();
    if (text[at] === "[") {
      const items = [];
      list("[", "]", () => items.push(value()));
      return items;
    }
    if (text[at] === "{") {
      const members = Object.create(null); // no name is special
      let last = null;
      list("{", "}", () => {
        const start = at;
        const name = string();
        if (last !== null && codePoints(last, name) >= 0) wrong();
        last = name;
        expect(":");
        members[name] = value();
        if (depth === 1) spans[name] = [start, at];
      });
      return members;
    }
    const word = take(/true|false|null/y);
    if (word) return JSON.parse(word[0]);
    const number = take(/-?(?:0|[1-9][0-9]*)(\.[0-9]+)?(e[+-][0-9]+)?/y) || wrong();
    const read = Number(number[0]);
    if (number[1] || number[2]) return Number.isFinite(read) && writtenFloat(read) === number[0] ? read : wrong();
    if (number[0] === "-0") wrong();
    return Number.isSafeInteger(read) ? read : BigInt(number[0]);
  };
  const whole = value();
  if (at !== text.length) wrong();
  return { whole, spans };
}

// ---------------------------------------------------------------- the file
const spelled = { U8: "uint8", I8: "int8", I16: "int16", I32: "int32", I64: "int64", BOOL: "bool" };
Object.assign(spelled, { F64: "float64", F32: "float32", F16: "float16", BF16: "bfloat16" });
const headerFields =
  "format meta methods network producer sample_sha256 seed sha256 tensors weights weights_sha256";

function readFile(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = bytes.length < 8 ? Infinity : view.getUint32(0, true) + 2 ** 32 * view.getUint32(4, true);
  if (8 + size > bytes.length) refuse("it is cut off");
  const index = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size)));
  const data = bytes.subarray(8 + size);
  const text = index.__metadata__ && index.__metadata__.untrained;
  if (typeof text !== "string") refuse("its metadata have no 'untrained'");
  delete index.__metadata__;
  const stored = Object.create(null);
  for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(index)) {
    if (!(dtype in spelled)) refuse(`'${name}' is of the unknown type ${dtype}`);
    if (!(start >= 0 && start <= end && end <= data.length)) refuse(`'${name}' is cut off`);
    stored[name] = { dtype: spelled[dtype], shape, data: data.subarray(start, end) };
  }
  const { whole: head, spans } = readCanonical(text);
  if (head.format !== 1) refuse(`its format is ${head.format}, and this page reads format 1`);
  if (ascending(head).join(" ") !== headerFields) refuse("its header has missing or unknown fields");
  const [seedStart, seedEnd] = spans.seed;
  head.seed = text.slice(seedStart + '"seed":'.length, seedEnd); // up to 2^64: more than a number holds
  if (!/^[0-9]+$/.test(head.seed)) refuse("its seed is not a whole number");

  const [from, to] = spans.sha256; // "seed" stands before it, and with that a comma
  const hash = new Sha256().add(utf8(text.slice(0, from - 1) + text.slice(to)));
  for (const name of ascending(stored)) {
    const { dtype, shape, data } = stored[name];
    hash.add(utf8(`\n${name} ${dtype} ${shape.join(",")}\n`)).add(data);
  }
  if (hash.hex() !== head.sha256) refuse("its contents do not have the sha256 in its header");
  return { head, stored };
}

// ---------------------------------------------------------------- codes
function codesOf(name, entry, count, stored) {
  const { values, counts, coding } = entry;
  const wrong = (why) => refuse(`the codes of '${name}': ${why}`);
  if (!stored || stored.dtype !== "uint8" || stored.shape.length !== 1) wrong("not a row of bytes");
  const { data } = stored;
  if (values.length !== counts.length || values.some((value, i) => i && value <= values[i - 1])) wrong("their values");
  if (counts.reduce((sum, n) => sum + n, 0) !== count) wrong("their counts do not add up to the shape");
  const codes = new Int8Array(count);
  const seen = new Float64Array(values.length);
  const put = (i, symbol) => {
    if (symbol >= values.length) wrong("a symbol beyond the values");
    seen[symbol]++;
    codes[i] = values[symbol];
  };
  if (coding === "bits") readBits(data, count, Math.ceil(Math.log2(Math.max(1, values.length))), put, wrong);
  else if (coding === "ans") readAns(data, count, counts, put, wrong);
  else wrong(`the unknown coding '${coding}'`);
  if (counts.some((n, i) => n !== seen[i])) wrong("they do not occur as often as the header says");
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

function readAns(data, count, counts, put, wrong) {
  const frequencies = counts.map((n) => Math.max(1, Math.floor((n * 2 ** 24) / count)));
  frequencies[counts.indexOf(Math.max(...counts))] += 2 ** 24 - frequencies.reduce((sum, f) => sum + f, 0);
  const starts = [0];
  for (const f of frequencies) starts.push(starts[starts.length - 1] + f);
  const words = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let left = data.length;
  if (left % 4 || (left && !words.getUint32(left - 4, true))) wrong("they do not end in a word that is not 0");
  // The state has 64 bits: two halves, so that no product leaves the 53 bits of a number.
  let high = 0;
  let low = 0;
  const refill = () => {
    if (high === 0 && left > 0) {
      high = low;
      low = words.getUint32((left -= 4), true);
      return true;
    }
    return false;
  };
  while (refill());
  for (let i = 0; i < count; i++) {
    const q = low % 2 ** 24;
    let symbol = 0;
    while (starts[symbol + 1] <= q) symbol++;
    const rest = high * 256 + Math.floor(low / 2 ** 24);
    const f = frequencies[symbol];
    const upper = Math.floor(rest / 2 ** 16) * f;
    const sum = (upper % 2 ** 16) * 2 ** 16 + (rest % 2 ** 16) * f + q - starts[symbol];
    high = Math.floor(upper / 2 ** 16) + Math.floor(sum / 2 ** 32);
    low = sum % 2 ** 32;
    refill();
    put(i, symbol);
  }
  if (high || low || left) wrong("something is left over");
}
