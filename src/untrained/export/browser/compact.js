// Format 2 of a ticket, as docs/format.md describes it: a compressed header, and codes in contexts.

const magic = "ticket 2";
const presetDictionary = utf8(
  '"airplane","automobile","bird","cat","deer","dog","frog","horse","ship","truck""cifar10","fashion-mnist","kmni' +
  'st""Bernoulli""rescale":"Biprop""Dense""FedPM""entropy":"GemMiner""decay":0.0,"drops":"IteRand""period":300,"r' +
  'ate":0.1"Multicoated""coats":"spacing":"linear""PartlyFrozen""locked":0.0,"of":{"pruned":"RandomSubnetwork""Re' +
  'laxedBernoulli""gate":"concrete","sparsity":"width":"SignedSupermask""SlotMachines""greedy":true,"values":"Thr' +
  'eshold""ternary":true,"threshold":"structure":{"name":"NofM","m":4,"n":2"KaimingNormal""KaimingUniform""Standa' +
  'rd""UnsignedConstant""XavierConstant""XavierNormal""XavierUniform""Prototype""length":1024,"conv2""mnist-conv"' +
  '"resnet18""stem":"small","width":1.0"bfloat16","float16","float64","global"running_mean":{"dtype":"float32","s' +
  'hape":[512],"stored":"float16"},"running_var":{"dtype":"float32","shape":[256],"stored":"float8_e4m3fn"},"num_' +
  'batches_tracked":{"dtype":"int64","shape":[],"stored":"int16"},"layer1.0.conv1.weight":{"dtype":"float32","met' +
  'hod":0,"shape":[64,64,3,3]},"bn1.bias":{"constant":0.0,"dtype":"float32","shape":[10]},"data":"digits","labels' +
  '":["0","1","2","3","4","5","6","7","8","9"],"mean":[0.30489175726960355],"shape":[1,8,8],"std":[0.375892303017' +
  '1914],{"meta":{"accuracy":0.98,"data":"mnist","labels":["0","1","2","3","4","5","6","7","8","9"],"mean":[0.130' +
  '6],"shape":[1,28,28],"std":[0.3081],"task":"classification","val_accuracy":0.985},"methods":[{"keep":0.5,"name' +
  '":"EdgePopup","scope":"layer","signed":false}],"network":{"arguments":{"classes":10,"norm":"batch","shape":[1,' +
  '28,28],"widths":[300,100]},"name":"fc"},"producer":"untrained 0.1.0","seed":0,"tensors":{"fc1.weight":{"dtype"' +
  ':"float32","method":0,"shape":[512,784]},"fc2.weight":{"dtype":"float32","method":1,"shape":[512,512]},"fc3.we' +
  'ight":{"dtype":"float32","method":0,"shape":[10,512]}},"weights":{"fan":"in","name":"SignedConstant","nonlinea' +
  'rity":"relu","scaled":false}}',
);
const mostCharacters = (packed) => Math.min(1e8, 2 ** 16 + 64 * packed);
const isCompact = (bytes) => bytes.length >= 8 && [...magic].every((letter, i) => letter.charCodeAt(0) === bytes[i]);

// Bytes that are read from the front.
function sideOf(data, wrong) {
  let at = 0;
  const take = (count) => {
    if (count > data.length - at) wrong("bytes are missing");
    at += count;
    return data.subarray(at - count, at);
  };
  const byte = () => take(1)[0];
  const varint = () => {
    let number = 0;
    for (let shift = 0; shift < 63; shift += 7) {
      const seven = byte();
      number += (seven & 127) * 2 ** shift;
      if (seven < 128) {
        if (!seven && shift) break;
        return number;
      }
    }
    return wrong("a number is not in its shortest form");
  };
  const levels = (count) => {
    const read = new Int8Array(take(count));
    return read.includes(-128) ? wrong("a level is -128") : read;
  };
  return { take, byte, varint, levels, rest: () => take(data.length - at), left: () => data.length - at };
}

// ---------------------------------------------------------------- streams
const roots = [65536, 71468, 77936, 84990, 92682, 101070, 110218, 120194];
function zerosAt(level) {
  const size = Math.abs(level);
  const rarer = Math.floor(2 ** 40 / (65536 + roots[size % 8] * 2 ** (size >> 3)));
  return level < 0 ? 2 ** 24 - rarer : rarer;
}
const levelStarts = Array.from({ length: 255 }, (_, i) => [0, zerosAt(i - 127), 2 ** 24]);
const readBit = (stream, level) => stream.next(levelStarts[level + 127]);

// Symbols by the binary tree of k symbols, of one level for each choice.
function readTree(stream, levels, count) {
  const symbols = new Uint8Array(count);
  const k = levels.length + 1;
  let choice = 0;
  for (let shift = Math.ceil(Math.log2(k)) - 1; shift >= 0; shift--) {
    for (let start = 0; start + 2 ** shift < k; start += 2 ** (shift + 1)) {
      const level = levels[choice++];
      for (let i = 0; i < count; i++) {
        if (symbols[i] >> (shift + 1) === start >> (shift + 1)) symbols[i] |= readBit(stream, level) << shift;
      }
    }
  }
  return symbols;
}

// ---------------------------------------------------------------- contexts
// The bins of the first scores: of the low 24 bits of each word of MT19937.
function scoreBins(seed, name, count, bits, signed) {
  const digest = new DataView(new Sha256().add(utf8(`scores/${seed}/${name}`)).digest().buffer);
  const state = new Uint32Array(624);
  state[0] = (digest.getUint32(0, true) >>> 1) | ((digest.getUint32(4, true) & 1) << 31);
  for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  const bins = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < 624 && i % 624 === 0; k++) {
      const both = (state[k] & 0x80000000) | (state[(k + 1) % 624] & 0x7fffffff);
      state[k] = state[(k + 397) % 624] ^ (both >>> 1) ^ (both & 1 ? 0x9908b0df : 0);
    }
    let y = state[i % 624];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    const v = (y ^ (y >>> 18)) & 0xffffff;
    bins[i] = signed ? v >> (24 - bits) : (v < 2 ** 23 ? 2 ** 23 - 1 - v : v - 2 ** 23) >> (23 - bits);
  }
  return bins;
}

function readEffects(side, wrong) {
  const kind = side.byte();
  if (kind === 0) return null;
  if (kind === 128) wrong("effects without a step");
  const [first, choices] = new Int8Array(side.take(2));
  if (choices < 0 || first < -64 || first > 63 - choices) wrong("impossible effects");
  return { step: kind & 127, bySign: kind > 128, first, levels: side.levels(choices) };
}

// The effects of all rows or columns: of weights below 0, then of those above.
function numbersOf(stream, effects, count) {
  if (!effects) return [new Int16Array(count), new Int16Array(count)];
  const { step, bySign, first, levels } = effects;
  const symbols = readTree(stream, levels, bySign ? 2 * count : count);
  const of = (sign) => Int16Array.from({ length: count }, (_, i) => step * (first + symbols[bySign ? 2 * i + sign : i]));
  return [of(0), of(1)];
}

// Codes of a tensor from their bytes; `places` are those of its elements whose codes are stored, if not all are.
function codesInContexts(name, shape, head, data, count, places) {
  const wrong = (why) => refuse(`the codes of '${name}': ${why}`);
  const side = sideOf(data, wrong);
  const k = side.varint();
  const values = k <= 256 ? new Int8Array(side.take(k)) : wrong("too many values");
  const others = values.subarray(1);
  const ordered = others.every((value, i) => value !== values[0] && (i === 0 || value > others[i - 1]));
  if (!ordered || (k === 0) !== (count === 0)) wrong("the values are not different, or not in order");
  if (k < 2) return side.left() ? wrong("bytes are left over") : new Int8Array(count).fill(values[0]);
  const kind = side.byte();
  if (kind === 255) return packedCodes(side.rest(), Int8Array.from(values).sort(), count, wrong);
  const bits = kind & 127;
  if (bits > 8 || kind === 128) wrong("impossible bins");
  const binLevels = side.levels(2 ** bits);
  const effects = [readEffects(side, wrong), readEffects(side, wrong)];
  const nodes = side.levels(k - 2);
  const stream = new AnsStream(side.rest(), wrong);
  const columns = product(shape.slice(1));
  const [byRow, byColumn] = effects.map((its, i) => numbersOf(stream, its, i ? columns : shape[0]));
  const bins = bits ? scoreBins(head.seed, name, shape[0] * columns, bits, kind > 128) : null;
  const signOf = effects.some((its) => its?.bySign) ? signsOf(head.weights, head.seed, name) : () => 0;
  const levels = Uint8Array.from({ length: count }, (_, j) => {
    const i = places ? places[j] : j;
    const sign = signOf(i);
    const level = binLevels[bins ? bins[i] : 0] + byRow[sign][Math.floor(i / columns)] + byColumn[sign][i % columns];
    return Math.max(-127, Math.min(127, level)) + 127;
  });
  // The elements in the order of their levels, those of one level in their own.
  const next = new Uint32Array(256);
  for (const level of levels) next[level + 1]++;
  for (let level = 0; level < 255; level++) next[level + 1] += next[level];
  const order = new Uint32Array(count);
  levels.forEach((level, i) => (order[next[level]++] = i));
  const chosen = new Uint8Array(count);
  for (const i of order) chosen[i] = stream.next(levelStarts[levels[i]]);
  const codes = new Int8Array(count).fill(values[0]);
  const rare = [];
  chosen.forEach((bit, i) => bit && rare.push(i));
  const symbols = readTree(stream, nodes, rare.length);
  rare.forEach((i, j) => (codes[i] = others[symbols[j]]));
  stream.close();
  return codes;
}

function packedCodes(data, values, count, wrong) {
  const codes = new Int8Array(count);
  const put = (i, symbol) => (symbol < values.length ? (codes[i] = values[symbol]) : wrong("a symbol beyond the values"));
  readBits(data, count, Math.ceil(Math.log2(values.length)), put, wrong);
  return codes;
}

// ---------------------------------------------------------------- tensors that are stored whole
const minifloat = (exponentBits, fractionBits, bias) => (word) => {
  const sign = word >> (exponentBits + fractionBits) ? -1 : 1;
  const exponent = (word >> fractionBits) & (2 ** exponentBits - 1);
  const fraction = word & (2 ** fractionBits - 1);
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias - fractionBits);
  return sign * (1 + fraction / 2 ** fractionBits) * 2 ** (exponent - bias);
};
// Of each narrow type its values, and the words that are no finite numbers.
const narrowFloats = {
  float8_e4m3fn: [minifloat(4, 3, 7), (word) => (word & 0x7f) === 0x7f],
  float16: [minifloat(5, 10, 15), (word) => (word & 0x7c00) === 0x7c00],
  bfloat16: [minifloat(8, 7, 127), (word) => (word & 0x7f80) === 0x7f80],
  float32: [Number, (word) => (word & 0x7f800000) === 0x7f800000],
};
const narrower = {
  float64: ["float8_e4m3fn", "float16", "bfloat16", "float32"],
  float32: ["float8_e4m3fn", "float16", "bfloat16"],
  float16: ["float8_e4m3fn"],
  bfloat16: ["float8_e4m3fn"],
  int64: ["int8", "int16", "int32"],
  int32: ["int8", "int16"],
  int16: ["int8"],
};
const storedSize = Object.fromEntries(storage.values());
const storedRules = { dtype: isA("string"), shape: entryRules.shape, stored: isA("string") };

// A tensor that is stored whole, as format 1 would hold it if it is float32; no other is used.
function storedWhole(name, line, side) {
  const what = `'${name}'`;
  if (/\p{Surrogate}/u.test(name)) refuse("the name of a tensor is not Unicode text");
  checkFields(what, line, storedRules);
  const { dtype, stored, shape } = line;
  const fits = Object.hasOwn(storedSize, dtype) && (stored === dtype || (narrower[dtype] ?? []).includes(stored));
  if (!fits) refuse(`${what} is of type ${shown(dtype)}, stored as ${shown(stored)}`);
  const bytes = shape.reduce((total, size) => total * size, BigInt(storedSize[stored]));
  if (bytes > BigInt(side.left())) refuse(`${what}: bytes are missing`);
  const data = side.take(Number(bytes)).slice();
  if (dtype === "bool" && data.some((byte) => byte > 1)) refuse(`${what} has bools that are neither 0 nor 1`);
  if (stored === dtype || !dtype.includes("float")) return { dtype, shape, data };
  const words = new { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[storedSize[stored]](data.buffer);
  const [valueOf, isBad] = narrowFloats[stored];
  if (words.some(isBad)) refuse(`${what}: its narrow values are not all finite`);
  return { dtype, shape, data: dtype === "float32" ? new Uint8Array(Float32Array.from(words, valueOf).buffer) : data };
}

// ---------------------------------------------------------------- the file
// What `readPlain` reads of format 1.
function readCompact(bytes) {
  const rest = bytes.subarray(16);
  if (bytes.length < 16 || new Sha256().add(rest).digest().subarray(0, 8).some((byte, i) => byte !== bytes[8 + i])) {
    refuse("its contents do not have the hash at its beginning");
  }
  const side = sideOf(rest, (why) => refuse(`its header: ${why}`));
  const hex = (data) => Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const [weights_sha256, sample_sha256] = [hex(side.take(32)), hex(side.take(32))];
  const packed = side.take(side.varint());
  const wrong = () => refuse("its header cannot be decompressed");
  const text = inflate(packed, presetDictionary, mostCharacters(packed.length), wrong);
  if (text.some((byte) => byte > 126)) wrong();
  const { head, lines } = readHeader(new TextDecoder().decode(text), bytes.length, 2);
  const stored = Object.create(null);
  for (const name of ascending({ ...head.tensors, ...lines })) {
    if (name in lines) stored[`extra/${name}`] = storedWhole(name, lines[name], side);
    else if (head.tensors[name].method) stored[`codes/${name}`] = { compact: true, data: side.take(side.varint()) };
  }
  if (side.left()) refuse("it holds more than its tensors");
  return { head: { ...head, weights_sha256, sample_sha256 }, stored };
}
