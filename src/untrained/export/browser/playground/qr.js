// QR codes (ISO/IEC 18004:2015) of level L: text as bytes, and what follows it of decimal digits as numbers.

// Of versions 1 … 40: the check bytes of each block, and the number of blocks.
const checksOfVersion = [7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28,
  28, 28, 30, 30, 26, 28, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30];
const blocksOfVersion = [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8,
  8, 9, 9, 10, 12, 12, 12, 13, 14, 15, 16, 17, 18, 19, 19, 20, 21, 22, 24, 25];

// Where the centres of the small squares lie, along each side.
function alignmentsOf(version) {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const step = version === 32 ? 26 : 2 * Math.ceil((4 * version + 4) / (2 * count - 2));
  const others = Array.from({ length: count - 1 }, (_, i) => 4 * version + 10 - i * step);
  return [6, ...others.reverse()];
}

function bytesOfVersion(version) {
  const squares = alignmentsOf(version).length;
  // All modules but those of the patterns and of the format; from version 7 on, the version is written twice.
  let free = (4 * version + 17) ** 2 - 3 * 64 - 31 - 2 * (4 * version + 1);
  if (squares) free -= 25 * (squares ** 2 - 3) - 10 * (squares - 2);
  return Math.floor((free - (version < 7 ? 0 : 36)) / 8);
}

// ---------------------------------------------------------------- data
// The bits of a text and its digits, without their end.
function bitsOf(text, decimal, version) {
  const bits = [];
  const put = (value, count) => {
    for (let i = count - 1; i >= 0; i--) bits.push((value >> i) & 1);
  };
  const bytes = utf8(text);
  put(4, 4);
  put(bytes.length, version < 10 ? 8 : 16);
  for (const byte of bytes) put(byte, 8);
  if (!decimal) return bits;
  put(1, 4);
  put(decimal.length, version < 10 ? 10 : version < 27 ? 12 : 14);
  for (let i = 0; i < decimal.length; i += 3) {
    const part = decimal.slice(i, i + 3);
    put(Number(part), [0, 4, 7, 10][part.length]);
  }
  return bits;
}

// Products in the field of 256 elements, modulo x⁸ + x⁴ + x³ + x² + 1.
function fieldProduct(a, b) {
  let sum = 0;
  for (let i = 7; i >= 0; i--) sum = (sum << 1) ^ (sum >> 7 ? 0x11d : 0) ^ (((b >> i) & 1) * a);
  return sum;
}

// The check bytes of a block: the rest of its division by (x - 1)(x - 2)(x - 4) …
function checksOf(block, count) {
  let divisor = [1];
  for (let i = 0, root = 1; i < count; i++, root = fieldProduct(root, 2)) {
    divisor = [...divisor, 0].map((value, j) => value ^ (j ? fieldProduct(divisor[j - 1], root) : 0));
  }
  const rest = [...block, ...new Array(count).fill(0)];
  block.forEach((_, i) => {
    const lead = rest[i];
    if (lead) divisor.forEach((value, j) => (rest[i + j] ^= fieldProduct(value, lead)));
  });
  return rest.slice(block.length);
}

// All bytes of a code, data and checks of its blocks in turns.
function interleaved(bits, version) {
  const [count, checks, total] = [blocksOfVersion[version - 1], checksOfVersion[version - 1], bytesOfVersion(version)];
  const room = total - count * checks;
  const padded = [...bits, ...new Array(Math.min(4, 8 * room - bits.length)).fill(0)];
  while (padded.length % 8) padded.push(0);
  const data = Array.from({ length: padded.length / 8 }, (_, i) => parseInt(padded.slice(8 * i, 8 * i + 8).join(""), 2));
  for (let pad = 0xec; data.length < room; pad ^= 0xec ^ 0x11) data.push(pad);
  const blocks = [];
  for (let i = 0, at = 0; i < count; i++) {
    const size = Math.floor(room / count) + (i < count - (room % count) ? 0 : 1);
    blocks.push(data.slice(at, (at += size)));
  }
  const inTurns = (rows) => rows[rows.length - 1].flatMap((_, i) => rows.map((row) => row[i]).filter((byte) => byte !== undefined));
  return [...inTurns(blocks), ...inTurns(blocks.map((block) => checksOf(block, checks)))];
}

// ---------------------------------------------------------------- modules
// Level L, and the mask that turns every second module: what is in a link looks random, so that it does as well as any.
const formatBits = 0x77c4;

// A value behind which stands the rest of its division, in bits.
function withRest(value, divisor, bits) {
  let rest = value << bits;
  for (let i = 31 - Math.clz32(value) + bits; i >= bits; i--) if ((rest >> i) & 1) rest ^= divisor << (i - bits);
  return (value << bits) | rest;
}

// The patterns that every code of a version has: of each module 0 or 1, or -1 where data lie.
function patternsOf(version) {
  const size = 4 * version + 17;
  const rows = Array.from({ length: size }, () => new Int8Array(size).fill(-1));
  const put = (x, y, dark) => {
    if (rows[y]?.[x] !== undefined) rows[y][x] = dark ? 1 : 0;
  };
  const putBoth = (far, near, dark) => {
    put(far, near, dark);
    put(near, far, dark);
  };
  for (let i = 0; i < size; i++) putBoth(6, i, i % 2 === 0);
  const square = (x, y, radius, light) => {
    for (let i = -radius; i <= radius; i++) {
      for (let j = -radius; j <= radius; j++) put(x + i, y + j, !light.includes(Math.max(Math.abs(i), Math.abs(j))));
    }
  };
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]]) square(x, y, 4, [2, 4]);
  const places = alignmentsOf(version);
  const isCorner = (x, y) => [x, y].every((place) => place === 6 || place === size - 7) && x + y < 2 * size - 14;
  for (const x of places) for (const y of places) if (!isCorner(x, y)) square(x, y, 2, [1]);
  for (let i = 0; i < 15; i++) {
    const bit = (formatBits >> i) & 1;
    put(...(i < 8 ? [8, i + (i > 5)] : [14 - i + (i < 9), 8]), bit);
    put(...(i < 8 ? [size - 1 - i, 8] : [8, size - 15 + i]), bit);
  }
  put(8, size - 8, 1);
  for (let i = 0, bits = withRest(version, 0x1f25, 12); version > 6 && i < 18; i++) {
    putBoth(size - 11 + (i % 3), Math.floor(i / 3), (bits >> i) & 1);
  }
  return rows;
}

// The modules of a QR code, as rows of 0 and 1; null if nothing so long fits.
function qrCode(text, decimal = "") {
  if (text.length + decimal.length > 7089) return null; // digits in the largest
  const fits = (version) => {
    const room = bytesOfVersion(version) - blocksOfVersion[version - 1] * checksOfVersion[version - 1];
    return bitsOf(text, decimal, version).length <= 8 * room;
  };
  const version = Array.from({ length: 40 }, (_, i) => i + 1).find(fits);
  if (!version) return null;
  const [rows, bytes] = [patternsOf(version), interleaved(bitsOf(text, decimal, version), version)];
  let at = 0;
  for (let right = rows.length - 1, up = true; right > 0; right -= right === 8 ? 3 : 2, up = !up) {
    for (let i = 0; i < rows.length; i++) {
      const y = up ? rows.length - 1 - i : i;
      for (const x of [right, right - 1]) {
        if (rows[y][x] >= 0) continue;
        rows[y][x] = ((bytes[at >> 3] >> (7 - (at & 7))) & 1) ^ ((x + y + 1) & 1);
        at++;
      }
    }
  }
  return rows;
}
