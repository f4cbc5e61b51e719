// The choice of the highest scores: exactly ⌈keep·n⌉ of all the layers' together, the lowest place first among equals.

// ⌈keep·n⌉ of the decimal number that `keep` prints as, at least 1: 0.07 of 1000 is 70.
function keepCount(keep, n) {
  if (!(keep > 0 && keep <= 1)) throw new RangeError(`keep must be in (0, 1], got ${keep}`);
  const [digits, exponent = "0"] = String(keep).split("e");
  const [whole, fraction = ""] = digits.split(".");
  const divisor = 10n ** BigInt(fraction.length - Number(exponent));
  return Math.min(n, Math.max(1, Number((BigInt(whole + fraction) * BigInt(n) + divisor - 1n) / divisor)));
}

// Ranks as whole numbers of the same order: a float's bits, all turned where it is negative. Made once for a size, so
// that a choice allocates nothing.
class Choice {
  constructor(n) {
    this.keys = new Uint32Array(n);
    this.floats = new Float32Array(this.keys.buffer);
    this.counts = new Uint32Array(2048);
  }

  // Writes 1 for kept and 0 for dropped into `masks`; returns the lowest rank that was kept.
  choose(scores, keep, signed, masks) {
    const n = scores.reduce((sum, each) => sum + each.length, 0);
    const { key, ties } = this.lowestKept(n, keepCount(keep, n), this.rank(scores, signed));
    const { keys } = this;
    let [at, tie, left] = [0, keys.indexOf(key), ties];
    for (const mask of masks) {
      const first = at;
      for (let i = 0; i < mask.length; i++, at++) mask[i] = +(keys[at] > key); // without a branch
      for (; left && tie < at; left--, tie = keys.indexOf(key, tie + 1)) mask[tie - first] = 1;
    }
    keys[0] = signed ? (key >>> 31 ? key ^ 0x80000000 : ~key) : key;
    return this.floats[0];
  }

  rank(scores, signed) {
    const { keys, floats } = this;
    const [size, top] = signed ? [0xffffffff, 0x80000000] : [0x7fffffff, 0];
    let at = 0;
    for (const each of scores) {
      for (let i = 0; i < each.length; i++, at++) {
        floats[at] = each[i] + 0; // -0 and 0 are equal
        const bits = keys[at] & size;
        if ((bits & 0x7fffffff) > 0x7f800000) throw new RangeError("a score is not a number: the search has diverged");
        keys[at] = signed ? bits ^ ((bits >> 31) | top) : bits;
      }
    }
  }

  // The key of the `count`-th highest, and how many equal to it are kept: by its first 11 bits, the next, the last 10.
  lowestKept(n, count) {
    const { keys, counts } = this;
    let [known, mask, left] = [0, 0, count];
    for (const [shift, bits] of [[21, 11], [10, 11], [0, 10]]) {
      const last = 2 ** bits - 1;
      counts.fill(0);
      for (let i = 0; i < n; i++) if (((keys[i] ^ known) & mask) === 0) counts[(keys[i] >>> shift) & last]++;
      let digit = last;
      while (counts[digit] < left) left -= counts[digit--];
      known |= digit << shift;
      mask |= last << shift;
    }
    return { key: known >>> 0, ties: left };
  }
}
