// sha256. A page that is opened as a file has no crypto.subtle in every browser.
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
