// Contexts of codes: the bins of first scores, the level of each element, and the sums that fit levels to codes.
#include <cstdint>

namespace {

constexpr int kState = 624, kMiddle = 397;

// The state of MT19937, and its next words.
struct Twister {
  uint32_t words[kState];

  explicit Twister(uint32_t seed) {
    words[0] = seed;
    for (uint32_t i = 1; i < kState; ++i) words[i] = 1812433253u * (words[i - 1] ^ words[i - 1] >> 30) + i;
  }

  static uint32_t twist(uint32_t first, uint32_t second) {
    const uint32_t both = (first & 0x80000000u) | (second & 0x7FFFFFFFu);
    return both >> 1 ^ (both & 1 ? 0x9908B0DFu : 0);
  }

  void turn() {
    for (int i = 0; i < kState - kMiddle; ++i) words[i] = words[i + kMiddle] ^ twist(words[i], words[i + 1]);
    for (int i = kState - kMiddle; i < kState - 1; ++i)
      words[i] = words[i + kMiddle - kState] ^ twist(words[i], words[i + 1]);
    words[kState - 1] = words[kMiddle - 1] ^ twist(words[kState - 1], words[0]);
  }

  static uint32_t temper(uint32_t word) {
    word ^= word >> 11;
    word ^= word << 7 & 0x9D2C5680u;
    word ^= word << 15 & 0xEFC60000u;
    return word ^ word >> 18;
  }
};

constexpr int kMost = 127;

}  // namespace

extern "C" {

// What the levels of a tensor's elements are made of, in units of 1/256: of bins, and of rows and columns for weights
// below and above 0, which `positive` tells apart (null: both are the same).
struct Grid {
  int64_t rows, columns;
  const uint8_t* bins;  // null: all are in one
  const uint8_t* positive;
  const int32_t* by_bin;
  const int32_t* by_row[2];
  const int32_t* by_column[2];
};
}

namespace {

constexpr int64_t kSome = 512;  // elements whose intermediate results stay in the first cache

template <bool kBins, bool kSigned>
void row_levels(const Grid& grid, int64_t row, uint8_t* __restrict out) {
  const int32_t below = grid.by_row[0][row] + 128, above = grid.by_row[1][row] + 128, one = grid.by_bin[0];
  for (int64_t start = 0; start < grid.columns; start += kSome) {
    const int64_t at = row * grid.columns + start, left = grid.columns - start;
    const int count = static_cast<int>(left < kSome ? left : kSome);
    const int32_t* __restrict by_bin = grid.by_bin;
    const int32_t *__restrict c0 = grid.by_column[0] + start, *__restrict c1 = grid.by_column[1] + start;
    const uint8_t* __restrict positive = kSigned ? grid.positive + at : nullptr;
    const uint8_t* __restrict bins = kBins ? grid.bins + at : nullptr;
    int32_t found[kSome];
    for (int i = 0; i < count; ++i) found[i] = kBins ? by_bin[bins[i]] : one;
    for (int i = 0; i < count; ++i) {
      const int32_t low = below + c0[i], high = above + c1[i];
      int32_t level = (found[i] + (kSigned && positive[i] != 0 ? high : low)) >> 8;
      level = level > kMost ? kMost : level < -kMost ? -kMost : level;
      out[start + i] = static_cast<uint8_t>(level + kMost);
    }
  }
}

void row_levels(const Grid& grid, int64_t row, uint8_t* out) {
  if (grid.bins == nullptr)
    grid.positive == nullptr ? row_levels<false, false>(grid, row, out) : row_levels<false, true>(grid, row, out);
  else
    grid.positive == nullptr ? row_levels<true, false>(grid, row, out) : row_levels<true, true>(grid, row, out);
}

}  // namespace

extern "C" {

// The bins of n first scores, 2^bits of the same width: of s, or without `is_signed` of |s|.
void score_bins(uint32_t seed, int32_t bits, int32_t is_signed, int64_t n, uint8_t* out) {
  Twister twister(seed);
  for (int64_t start = 0; start < n; start += kState) {
    twister.turn();
    const int count = static_cast<int>(n - start < kState ? n - start : kState);
    for (int i = 0; i < count; ++i) {
      const uint32_t drawn = Twister::temper(twister.words[i]) & 0xFFFFFFu;
      const uint32_t size = (drawn & 0x800000u ? drawn : ~drawn) & 0x7FFFFFu;
      out[start + i] = static_cast<uint8_t>(is_signed ? drawn >> (24 - bits) : size >> (23 - bits));
    }
  }
}

// The level of each element, plus 127.
void find_levels(const Grid* grid, uint8_t* out) {
  for (int64_t row = 0; row < grid->rows; ++row) row_levels(*grid, row, out + row * grid->columns);
}

// Sums over the elements that are free (null: all) of ones·2^24 - p and of p·(1 - p), for rows, columns and bins:
// those of weights below 0, then those above. `ones` has the frequency of a 1 at each level, `slopes` the other.
void sum_slopes(const Grid* grid, const uint8_t* codes, const uint8_t* free, const int32_t* ones,
                const int32_t* slopes, uint8_t* levels, int64_t* by_row, int64_t* by_column, int64_t* by_bin) {
  const int64_t rows = grid->rows, columns = grid->columns;
  for (int64_t row = 0; row < rows; ++row) {
    row_levels(*grid, row, levels);
    int64_t sums[2][2] = {};
    for (int64_t column = 0; column < columns; ++column) {
      const int64_t i = row * columns + column;
      if (free != nullptr && !free[i]) continue;
      const int sign = grid->positive == nullptr ? 0 : grid->positive[i];
      const int64_t slope = (int64_t{codes[i]} << 24) - ones[levels[column]], curve = slopes[levels[column]];
      const int bin = grid->bins == nullptr ? 0 : grid->bins[i];
      sums[sign][0] += slope;
      sums[sign][1] += curve;
      by_column[2 * (sign * columns + column)] += slope;
      by_column[2 * (sign * columns + column) + 1] += curve;
      by_bin[2 * bin] += slope;
      by_bin[2 * bin + 1] += curve;
    }
    for (int sign = 0; sign < 2; ++sign)
      for (int which = 0; which < 2; ++which) by_row[2 * (sign * rows + row) + which] = sums[sign][which];
  }
}

// Counts of the elements that are free (null: all) of each bin, sum of effects (from -most on, cut to ±most) and code.
void count_effects(const Grid* grid, const uint8_t* codes, const uint8_t* free, int32_t most, int64_t* counts) {
  int32_t keys[kSome];
  for (int64_t row = 0; row < grid->rows; ++row)
    for (int64_t start = 0; start < grid->columns; start += kSome) {
      const int64_t at = row * grid->columns + start, left = grid->columns - start;
      const int count = static_cast<int>(left < kSome ? left : kSome);
      const int32_t below = grid->by_row[0][row], above = grid->by_row[1][row];
      const int32_t *c0 = grid->by_column[0] + start, *c1 = grid->by_column[1] + start;
      for (int i = 0; i < count; ++i) {
        int32_t sum = below + c0[i];
        if (grid->positive != nullptr) sum = grid->positive[at + i] ? above + c1[i] : sum;
        sum = (sum > most ? most : sum < -most ? -most : sum) + most;
        const int32_t bin = grid->bins == nullptr ? 0 : grid->bins[at + i];
        keys[i] = 2 * (bin * (2 * most + 1) + sum) + codes[at + i];
      }
      for (int i = 0; i < count; ++i)
        if (free == nullptr || free[at + i]) ++counts[keys[i]];
    }
}

// counts[k] = the number of bytes k. Four tables: one would wait for its own last increment.
void count_bytes(const uint8_t* bytes, int64_t n, int64_t* counts) {
  int64_t some[4][256] = {};
  int64_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (int j = 0; j < 4; ++j) ++some[j][bytes[i + j]];
  for (; i < n; ++i) ++some[0][bytes[i]];
  for (int k = 0; k < 256; ++k) counts[k] = some[0][k] + some[1][k] + some[2][k] + some[3][k];
}

// Bit i mod 8 of packed[i / 8] = the next of those bits that belong to elements of i's level, or its opposite;
// `starts` are the places of the first ones.
void place_bits(const uint8_t* levels, const uint8_t* bits, int64_t n, const int64_t* starts, int32_t opposite,
                uint8_t* packed) {
  const uint8_t* next[2 * kMost + 1];
  for (int level = 0; level <= 2 * kMost; ++level) next[level] = bits + starts[level];
  for (int64_t i = 0; i < n; i += 8) {
    const int count = static_cast<int>(n - i < 8 ? n - i : 8);
    unsigned byte = 0;
    if (count == 8)
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) byte |= static_cast<unsigned>(*next[levels[i + j]]++) << j;
    else
      for (int j = 0; j < count; ++j) byte |= static_cast<unsigned>(*next[levels[i + j]]++) << j;
    packed[i / 8] = static_cast<uint8_t>(opposite ? byte ^ ((1u << count) - 1) : byte);
  }
}
}
