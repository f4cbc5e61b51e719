// Loading: the signs of Philox4x32-10 straight to masked weights, and two-valued entropy-coded codes to bytes.
#include <bit>
#include <cstring>

#include "parallel.h"

namespace {

constexpr int kLanes = 16;   // blocks that are drawn side by side
constexpr int kBlock = 128;  // weights of a block: one bit each of four words
constexpr int kStreams = 4;  // tensors that are decoded side by side

}  // namespace

extern "C" {

// The source of a tensor's signs: seed and name as two words each, and its first block.
struct Signs {
  uint32_t key[2];
  uint32_t name[2];
  uint64_t first;
  float scale;
};

// A stream of entropy-coded bits, and its next runs: of each the number of bits and the frequency of a 0, of 2^24.
struct Bits {
  const uint32_t* words;
  int64_t left;  // words; the last is read first
  uint64_t state;  // 0 at the end, as `left` is, unless the data are damaged
  const int64_t* counts;
  const uint32_t* zeros;
  int64_t runs;
  uint8_t* out;
};
}

namespace {

// words[j][lane] is word j of block number[lane].
inline void philox(const Signs& from, const uint64_t* number, uint32_t words[4][kLanes]) {
  uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    c0[lane] = static_cast<uint32_t>(number[lane]);
    c1[lane] = static_cast<uint32_t>(number[lane] >> 32);
    c2[lane] = from.name[0];
    c3[lane] = from.name[1];
  }
  uint32_t key0 = from.key[0], key1 = from.key[1];
  for (int round = 0; round < 10; ++round) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const uint64_t first = uint64_t{0xD2511F53} * c0[lane], second = uint64_t{0xCD9E8D57} * c2[lane];
      c0[lane] = static_cast<uint32_t>(second >> 32) ^ c1[lane] ^ key0;
      c1[lane] = static_cast<uint32_t>(second);
      c2[lane] = static_cast<uint32_t>(first >> 32) ^ c3[lane] ^ key1;
      c3[lane] = static_cast<uint32_t>(first);
    }
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  std::memcpy(words[0], c0, sizeof c0);
  std::memcpy(words[1], c1, sizeof c1);
  std::memcpy(words[2], c2, sizeof c2);
  std::memcpy(words[3], c3, sizeof c3);
}

// The same of blocks `block`, `block` + 1, … behind the first.
inline void draw_words(const Signs& from, int64_t block, uint32_t words[4][kLanes]) {
  uint64_t number[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) number[lane] = from.first + static_cast<uint64_t>(block + lane);
  philox(from, number, words);
}

// +scale where the bit is set, -scale where it is not; +0 where that of the mask is not set.
inline uint32_t weight(uint32_t word, uint32_t mask, int bit, uint32_t scale) {
  const uint32_t one = uint32_t{1} << bit;
  return (scale ^ ((word & one) == 0 ? uint32_t{1} << 31 : 0)) & ((mask & one) == 0 ? 0 : ~uint32_t{0});
}

inline uint32_t mask_word(const uint8_t* bits) {
  return bits[0] | uint32_t{bits[1]} << 8 | uint32_t{bits[2]} << 16 | uint32_t{bits[3]} << 24;
}

template <bool kMasked>
inline void expand(const uint32_t words[4][kLanes], int lane, uint32_t scale, const uint8_t* bits, uint32_t* out) {
  for (int j = 0; j < 4; ++j) {
    const uint32_t word = words[j][lane], mask = kMasked ? mask_word(bits + 4 * j) : ~uint32_t{0};
    for (int bit = 0; bit < 32; ++bit) out[32 * j + bit] = weight(word, mask, bit, scale);
  }
}

template <bool kMasked>
void draw_blocks(const Signs& from, int64_t begin, int64_t end, int64_t n, const uint8_t* bits, uint32_t* out) {
  const uint32_t scale = std::bit_cast<uint32_t>(from.scale);
  for (int64_t block = begin; block < end; block += kLanes) {
    uint32_t words[4][kLanes];
    draw_words(from, block, words);
    for (int lane = 0; lane < kLanes && block + lane < end; ++lane) {
      const int64_t at = (block + lane) * kBlock;
      if (at + kBlock <= n) {
        expand<kMasked>(words, lane, scale, bits + at / 8, out + at);
        continue;
      }
      uint32_t last[kBlock];
      uint8_t last_bits[kBlock / 8] = {};
      if (kMasked) std::memcpy(last_bits, bits + at / 8, static_cast<size_t>((n - at + 7) / 8));
      expand<kMasked>(words, lane, scale, last_bits, last);
      std::memcpy(out + at, last, static_cast<size_t>(n - at) * sizeof *out);
    }
  }
}

constexpr uint64_t kWord = uint64_t{1} << 32;

inline void refill(Bits& bits) {
  if (bits.state < kWord && bits.left > 0) bits.state = bits.state << 32 | bits.words[--bits.left];
}

// The next `steps` bits of each of kStreams streams, within one run of each.
template <int kStreams>
void read_steps(Bits* const* streams, const int64_t* done, int64_t steps) {
  Bits at[kStreams];
  uint64_t zeros[kStreams];
  for (int k = 0; k < kStreams; ++k) {
    at[k] = *streams[k];
    zeros[k] = at[k].zeros[done[k]];
  }
  for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 8
    for (int k = 0; k < kStreams; ++k) {
      Bits& one = at[k];
      const uint64_t q = one.state & 0xFFFFFF, f0 = zeros[k];
      const uint64_t is_one = q >= f0, part = (one.state >> 24) * f0;
      const uint64_t after_zero = part + q, after_one = one.state - part - f0;
      one.state = is_one ? after_one : after_zero;
      one.out[i] = static_cast<uint8_t>(is_one);
      refill(one);
    }
  }
  for (int k = 0; k < kStreams; ++k) {
    at[k].out += steps;
    *streams[k] = at[k];
  }
}

}  // namespace

extern "C" {

// out[i] = ±scale where bit i mod 8 of byte i / 8 is set, and +0 elsewhere; without bits ±scale everywhere.
void draw_signs(const Signs* from, const uint8_t* bits, int64_t n, uint32_t* out) {
  parallel_for(n, [=](int64_t begin, int64_t end) {
    begin = (begin + kBlock - 1) / kBlock;  // a block belongs to the range that it begins in
    end = (end + kBlock - 1) / kBlock;
    if (bits == nullptr)
      draw_blocks<false>(*from, begin, end, n, bits, out);
    else
      draw_blocks<true>(*from, begin, end, n, bits, out);
  });
}

// out[i] = 1 where that is +scale, and 0 where it is -scale.
void draw_positive(const Signs* from, int64_t n, uint8_t* out) {
  for (int64_t block = 0; block * kBlock < n; block += kLanes) {
    uint32_t words[4][kLanes];
    draw_words(*from, block, words);
    for (int lane = 0; lane < kLanes && (block + lane) * kBlock < n; ++lane) {
      const int64_t at = (block + lane) * kBlock;
      uint8_t some[kBlock];
      for (int j = 0; j < 4; ++j)
        for (int bit = 0; bit < 32; ++bit) some[32 * j + bit] = static_cast<uint8_t>(words[j][lane] >> bit & 1);
      std::memcpy(out + at, some, static_cast<size_t>(n - at < kBlock ? n - at : kBlock));
    }
  }
}

// Those of `draw_signs`, only of the elements at `places`.
void draw_signs_at(const Signs* from, const uint8_t* bits, const int64_t* places, int64_t n, uint32_t* out) {
  for (int64_t start = 0; start < n; start += kLanes) {
    const int count = static_cast<int>(n - start < kLanes ? n - start : kLanes);
    uint64_t number[kLanes] = {};
    uint32_t words[4][kLanes];
    for (int lane = 0; lane < count; ++lane)
      number[lane] = from->first + static_cast<uint64_t>(places[start + lane] / kBlock);
    philox(*from, number, words);
    for (int lane = 0; lane < count; ++lane) {
      const int64_t at = places[start + lane];
      const uint32_t mask = uint32_t{bits[at / 8]} >> at % 8 << at % 32;
      out[start + lane] =
          weight(words[at % kBlock / 32][lane], mask, at % 32, std::bit_cast<uint32_t>(from->scale));
    }
  }
}

int64_t count_bits(const uint8_t* bytes, int64_t n) {
  int64_t found = 0, i = 0;
  for (uint64_t eight; i + 8 <= n; i += 8) {
    std::memcpy(&eight, bytes + i, 8);
    found += std::popcount(eight);
  }
  for (; i < n; ++i) found += std::popcount(bytes[i]);
  return found;
}

// Read all runs of the streams; several side by side, for within one each bit waits for the one before.
void read_bits(Bits* all, int64_t count) {
  Bits* running[kStreams];
  int64_t done[kStreams], left[kStreams];  // runs that are read, and bits that are left of the next one
  int64_t next = 0;
  int streams = 0;
  for (;;) {
    while (streams < kStreams && next < count) {
      Bits* const begun = &all[next++];
      refill(*begun);
      refill(*begun);
      if (begun->runs == 0) continue;
      running[streams] = begun;
      done[streams] = 0;
      left[streams++] = begun->counts[0];
    }
    if (streams == 0) return;
    int64_t steps = INT64_MAX;
    for (int k = 0; k < streams; ++k) steps = left[k] < steps ? left[k] : steps;
    if (streams == kStreams)
      read_steps<kStreams>(running, done, steps);
    else
      for (int k = 0; k < streams; ++k) read_steps<1>(&running[k], &done[k], steps);
    int still = 0;
    for (int k = 0; k < streams; ++k) {
      left[k] -= steps;
      if (left[k] == 0 && ++done[k] < running[k]->runs) left[k] = running[k]->counts[done[k]];
      if (done[k] == running[k]->runs) continue;
      running[still] = running[k];
      done[still] = done[k];
      left[still++] = left[k];
    }
    streams = still;
  }
}
}
