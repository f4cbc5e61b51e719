// Decompression of a raw deflate stream (RFC 1951) with a preset dictionary.

const lengthExtra = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const distanceExtra = Array.from({ length: 30 }, (_, i) => Math.max(0, (i >> 1) - 1));
const startsOf = (extra, first) => extra.map((_, i) => extra.slice(0, i).reduce((sum, bits) => sum + 2 ** bits, first));
const lengthStart = startsOf(lengthExtra, 3);
lengthStart[28] = 258;
const distanceStart = startsOf(distanceExtra, 1);
const codeOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

// A canonical Huffman code from its lengths: the symbols in order, and how many have each length.
function huffman(lengths, wrong, mayBeOne) {
  const counts = new Array(16).fill(0);
  for (const length of lengths) counts[length]++;
  const used = lengths.length - counts[0];
  let left = 1;
  for (let length = 1; length < 16; length++) {
    left = 2 * left - counts[length];
    if (left < 0) wrong();
  }
  // A code of distances may have one symbol, of one bit, or none.
  if (left > 0 && !(mayBeOne && (used === 0 || (used === 1 && counts[1] === 1)))) wrong();
  const symbols = [];
  for (let length = 1; length < 16; length++) lengths.forEach((own, symbol) => own === length && symbols.push(symbol));
  return { counts, symbols };
}

function inflate(data, dictionary, most, wrong) {
  let at = 0;
  let [held, bits] = [0, 0];
  const take = (count) => {
    while (bits < count) {
      if (at === data.length) wrong();
      held += data[at++] * 2 ** bits;
      bits += 8;
    }
    const value = held % 2 ** count;
    held = Math.floor(held / 2 ** count);
    bits -= count;
    return value;
  };
  const symbolOf = ({ counts, symbols }) => {
    let [code, first, index] = [0, 0, 0];
    for (let length = 1; length < 16; length++) {
      code = 2 * code + take(1);
      if (code - first < counts[length]) return symbols[index + code - first];
      index += counts[length];
      first = 2 * (first + counts[length]);
    }
    return wrong();
  };
  const out = Array.from(dictionary);
  const put = (byte) => (out.length < dictionary.length + most ? out.push(byte) : wrong());
  const fixed = Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8));
  const codes = () => {
    const [literals, distances, inner] = [take(5) + 257, take(5) + 1, take(4) + 4];
    if (literals > 286 || distances > 30) wrong();
    const own = new Array(19).fill(0);
    for (let i = 0; i < inner; i++) own[codeOrder[i]] = take(3);
    const code = huffman(own, wrong);
    const lengths = [];
    while (lengths.length < literals + distances) {
      const symbol = symbolOf(code);
      if (symbol < 16) lengths.push(symbol);
      else {
        if (symbol === 16 && !lengths.length) wrong();
        const [value, bitsOf, least] = symbol === 16 ? [lengths[lengths.length - 1], 2, 3] : symbol === 17 ? [0, 3, 3] : [0, 7, 11];
        for (let left = take(bitsOf) + least; left > 0; left--) lengths.push(value);
      }
    }
    if (lengths.length > literals + distances || !lengths[256]) wrong();
    return [huffman(lengths.slice(0, literals), wrong, true), huffman(lengths.slice(literals), wrong, true)];
  };
  const block = ([literals, distances]) => {
    for (;;) {
      const symbol = symbolOf(literals);
      if (symbol === 256) return;
      if (symbol < 256) put(symbol);
      else {
        if (symbol > 285) wrong();
        const length = lengthStart[symbol - 257] + take(lengthExtra[symbol - 257]);
        const which = symbolOf(distances);
        if (which > 29) wrong();
        const distance = distanceStart[which] + take(distanceExtra[which]);
        if (distance > out.length) wrong();
        for (let i = 0; i < length; i++) put(out[out.length - distance]);
      }
    }
  };
  const stored = () => {
    [held, bits] = [0, 0];
    const length = take(16);
    if (take(16) !== 65535 - length) wrong();
    for (let i = 0; i < length; i++) put(take(8));
  };
  for (let last = 0; !last; ) {
    last = take(1);
    const kind = take(2);
    if (kind === 0) stored();
    else if (kind === 1) block([huffman(fixed, wrong), huffman(new Array(32).fill(5), wrong)]);
    else if (kind === 2) block(codes());
    else wrong();
  }
  if (at !== data.length) wrong();
  return Uint8Array.from(out.slice(dictionary.length));
}
