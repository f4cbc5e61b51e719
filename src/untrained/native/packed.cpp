// Products of packed matrices of trits with vectors: y = scale * (t x) + bias, t being of {-1, 0, 1}.
//
//   lookup:   three trits t0 t1 t2 are one number t0 + 3 t1 + 9 t2 of -13..13, kept as magnitude (4 bits) and sign (1
//             bit), and six numbers are a word, at its bits 0, 5, 10, 16, 21, 26. Rows lie in blocks of 1024, the last
//             one padded to whole sixteens; in a block, words[group of 18 columns][row]. The summand of a number in its row
//             is looked up in a table of the 14 sums of ±x0, ±x1, ±x2, which stays in registers for a block.
//   indices:  for every row where its trits other than 0 find their share in (x, -x, 0): column c of a 1 at c, of a -1
//             at columns + c; the last place fills every list to whole fours.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "parallel.h"

namespace {

constexpr int64_t kTables = 6, kColumns = 3 * kTables;
constexpr int64_t kPadding = 16, kRows = 1024;  // of a block, whose sums stay in the first cache
constexpr int64_t kGroups = 32, kFours = 64;    // summed before they join a total, so that rounding does not pile up

// The trits of 0..13; 14 and 15 do not occur.
alignas(64) constexpr float kDigits[3][16] = {{0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, 0, 0},
                                              {0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 0, 0},
                                              {0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0}};

#if defined(__AVX512F__)

using Floats = __m512;
using Words = __m512i;
constexpr int64_t kLanes = 16;

inline Floats load(const float* from) { return _mm512_loadu_ps(from); }
inline Words load(const uint32_t* from) { return _mm512_loadu_si512(from); }
inline Words upper(Words w) { return _mm512_madd_epi16(w, _mm512_set1_epi32(1 << 16)); }
inline void store(float* to, Floats v) { _mm512_storeu_ps(to, v); }
inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }

struct Table {
  Floats plus, minus;

  explicit Table(const float* x) {
    plus = _mm512_mul_ps(load(kDigits[0]), _mm512_set1_ps(x[0]));
    plus = _mm512_fmadd_ps(load(kDigits[1]), _mm512_set1_ps(x[1]), plus);
    plus = _mm512_fmadd_ps(load(kDigits[2]), _mm512_set1_ps(x[2]), plus);
    minus = _mm512_sub_ps(_mm512_setzero_ps(), plus);
  }

  Floats at(Words w) const { return _mm512_permutex2var_ps(plus, w, minus); }  // reads the lowest five bits alone
};

// A product and not a shift: shifts would wait for the unit that looks up.
template <int kShift>
inline Words shifted(Words w) {
  return _mm512_mulhi_epu16(w, _mm512_set1_epi16(1 << (16 - kShift)));
}

#elif defined(__AVX2__)

using Floats = __m256;
using Words = __m256i;
constexpr int64_t kLanes = 8;

inline Floats load(const float* from) { return _mm256_loadu_ps(from); }
inline Words load(const uint32_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
inline Words upper(Words w) { return _mm256_srli_epi32(w, 16); }
inline void store(float* to, Floats v) { _mm256_storeu_ps(to, v); }
inline Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }

struct Table {
  Floats low, high;

  explicit Table(const float* x) : low(sums(x, 0)), high(sums(x, 8)) {}

  static Floats sums(const float* x, int from) {
    Floats sum = _mm256_mul_ps(load(kDigits[0] + from), _mm256_set1_ps(x[0]));
    sum = _mm256_fmadd_ps(load(kDigits[1] + from), _mm256_set1_ps(x[1]), sum);
    return _mm256_fmadd_ps(load(kDigits[2] + from), _mm256_set1_ps(x[2]), sum);
  }

  Floats at(Words w) const {  // three bits choose a lane, the fourth the half, the fifth the sign
    const Floats half = _mm256_castsi256_ps(_mm256_slli_epi32(w, 28));
    const Floats sign = _mm256_castsi256_ps(_mm256_slli_epi32(w, 27));
    const Floats size = _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, w), _mm256_permutevar8x32_ps(high, w), half);
    return _mm256_xor_ps(size, _mm256_and_ps(sign, _mm256_set1_ps(-0.0f)));
  }
};

template <int kShift>
inline Words shifted(Words w) {
  return _mm256_srli_epi32(w, kShift);
}

#else
using Floats = float;
using Words = uint32_t;
constexpr int64_t kLanes = 1;

inline Floats load(const float* from) { return *from; }
inline Words load(const uint32_t* from) { return *from; }
inline Words upper(Words w) { return w >> 16; }
inline void store(float* to, Floats v) { *to = v; }
inline Floats add(Floats a, Floats b) { return a + b; }

struct Table {
  float sums[32];

  explicit Table(const float* x) {
    for (int i = 0; i < 16; i++) {
      sums[i] = kDigits[0][i] * x[0] + kDigits[1][i] * x[1] + kDigits[2][i] * x[2];
      sums[16 + i] = -sums[i];
    }
  }

  Floats at(Words w) const { return sums[w & 31]; }
};

template <int kShift>
inline Words shifted(Words w) {
  return w >> kShift;
}

#endif

// Returns true if sums of ±x equal the products with the weight: no NaN or infinity, which times 0 would be NaN, and no
// sum that is too large before it is scaled.
bool summable(const float* x, int64_t columns, float scale) {
  float sums[kPadding] = {};  // side by side, so that they are added by vectors
  int64_t c = 0;
  for (; c + kPadding <= columns; c += kPadding)
    for (int64_t i = 0; i < kPadding; i++) sums[i] += std::abs(x[c + i]);
  for (; c < columns; c++) sums[0] += std::abs(x[c]);
  float all = 0;
  for (const float sum : sums) all += sum;
  return std::isfinite(2 * all * std::max(1.0f, scale));  // twice: their last bits depend on the order
}

[[gnu::noinline]]  // so that the loops of the kernels are compiled as they were without it
bool all_summable(const float* inputs, int64_t columns, int64_t batch, float scale) {
  for (int64_t i = 0; i < batch; i++)
    if (!summable(inputs + i * columns, columns, scale)) return false;
  return true;
}

// The tables of one example's inputs to a group of columns.
struct Tables {
  Table t0, t1, t2, t3, t4, t5;

  explicit Tables(const float* x) : t0(x), t1(x + 3), t2(x + 6), t3(x + 9), t4(x + 12), t5(x + 15) {}

  Floats at(Words w0, Words w1, Words w2, Words w3, Words w4, Words w5) const {
    return add(add(add(t0.at(w0), t1.at(w1)), add(t2.at(w2), t3.at(w3))), add(t4.at(w4), t5.at(w5)));
  }
};

struct Lookup {
  const uint32_t* words;
  const float* inputs;  // padded to whole groups
  float* outputs;
  const float* bias;  // or null
  int64_t rows, groups;
  float scale;

  int64_t stride(int64_t block) const { return std::min(kRows, (rows - block + kPadding - 1) / kPadding * kPadding); }

  // Rows first..last of a block. Two examples at once read and unpack every word once.
  template <int kExamples>
  void some(int64_t block, int64_t first, int64_t last, int64_t example) const {
    const int64_t padded = last - first;
    const uint32_t* from = words + block * groups + first - block;
    alignas(64) float sums[kExamples][kRows], totals[kExamples][kRows] = {};
    for (int64_t group = 0; group < groups; from += stride(block)) {
      if (group % kGroups == 0)
        for (auto& sum : sums) std::fill_n(sum, padded, 0.0f);
      const float* x = inputs + (example * groups + group) * kColumns;
      const Tables one(x), two(kExamples == 2 ? x + groups * kColumns : x);
      for (int64_t r = 0; r < padded; r += kLanes) {
        const Words w0 = load(from + r), w1 = shifted<5>(w0), w2 = shifted<10>(w0);
        const Words w3 = upper(w0), w4 = shifted<5>(w3), w5 = shifted<10>(w3);
        store(sums[0] + r, add(load(sums[0] + r), one.at(w0, w1, w2, w3, w4, w5)));
        if constexpr (kExamples == 2) store(sums[1] + r, add(load(sums[1] + r), two.at(w0, w1, w2, w3, w4, w5)));
      }
      if (++group % kGroups == 0 || group == groups)
        for (int i = 0; i < kExamples; i++)
          for (int64_t r = 0; r < padded; r++) totals[i][r] += sums[i][r];
    }
    for (int i = 0; i < kExamples; i++)
      for (int64_t r = 0; r < std::min(padded, rows - first); r++)
        outputs[(example + i) * rows + first + r] = totals[i][r] * scale + (bias ? bias[first + r] : 0.0f);
  }
};

// Four places of one example, or of kWide examples side by side.
constexpr int64_t kWide = 16, kWorth = 4;  // fewer examples than kWorth go one by one
constexpr int64_t kTile = 16;  // transposed at a time: whole columns would push one another out of the cache

struct One {
  float sums[4] = {};

  template <class Place>
  void add_four(const Place* at, const float* x) {
    if constexpr (sizeof(Place) == 2) {  // one read for all four
      uint64_t all;
      std::memcpy(&all, at, sizeof all);
      for (int i = 0; i < 4; i++) sums[i] += x[all >> (16 * i) & 0xffff];
    } else {
      for (int i = 0; i < 4; i++) sums[i] += x[at[i]];
    }
  }

  void join(float* total) const { *total += (sums[0] + sums[1]) + (sums[2] + sums[3]); }
};

struct Many {
  Floats even[kWide / kLanes] = {}, odd[kWide / kLanes] = {};

  template <class Place>
  void add_four(const Place* at, const float* x) {
    const float *a = x + at[0] * kWide, *b = x + at[1] * kWide, *c = x + at[2] * kWide, *d = x + at[3] * kWide;
    for (int64_t i = 0; i < kWide / kLanes; i++) {
      even[i] = add(even[i], add(load(a + i * kLanes), load(b + i * kLanes)));
      odd[i] = add(odd[i], add(load(c + i * kLanes), load(d + i * kLanes)));
    }
  }

  void join(float* total) const {
    for (int64_t i = 0; i < kWide / kLanes; i++)
      store(total + i * kLanes, add(load(total + i * kLanes), add(even[i], odd[i])));
  }
};

template <class Place>
struct Lists {
  const Place* places;
  const int32_t* starts;  // of each row's list, and where the last one ends
  float* outputs;
  const float* bias;  // or null
  int64_t rows;
  float scale;

  // x: (x, -x, 0) of one example, or of kWide, place by place, of which `there` exist.
  template <class Sums>
  void some(const float* x, int64_t example, int64_t there, int64_t first, int64_t last) const {
    for (int64_t from = first; from < last; from += kTile) {
      const int64_t to = std::min(last, from + kTile);
      float totals[kTile][kWide] = {};
      for (int64_t r = from; r < to; r++)
        for (const Place *at = places + starts[r], *end = places + starts[r + 1]; at < end;) {
          Sums sums;
          for (const Place* stop = std::min(end, at + 4 * kFours); at < stop; at += 4) sums.add_four(at, x);
          sums.join(totals[r - from]);
        }
      for (int64_t i = 0; i < there; i++)
        for (int64_t r = from; r < to; r++)
          outputs[(example + i) * rows + r] = totals[r - from][i] * scale + (bias ? bias[r] : 0.0f);
    }
  }

  void all(const float* inputs, int64_t columns, int64_t batch) const {
    const int64_t work = std::max<int64_t>(1, starts[rows] / std::max<int64_t>(1, rows));
    std::vector<float> x;
    for (int64_t example = 0; example < batch;) {
      const int64_t there = batch - example < kWorth ? 1 : std::min(kWide, batch - example);
      const int64_t width = there == 1 ? 1 : kWide;
      x.assign((2 * columns + 1) * width, 0.0f);
      for (int64_t from = 0; from < columns; from += kTile)
        for (int64_t i = 0; i < there; i++)
          for (int64_t c = from; c < std::min(columns, from + kTile); c++) {
            const float value = inputs[(example + i) * columns + c];
            x[c * width + i] = value;
            x[(columns + c) * width + i] = -value;
          }
      parallel_for(rows * work, [=, this, from = x.data()](int64_t begin, int64_t end) {
        const int64_t first = begin / work, last = end / work;
        there == 1 ? some<One>(from, example, 1, first, last) : some<Many>(from, example, there, first, last);
      });
      example += there;
    }
  }
};

}  // namespace
extern "C" {
// inputs: (batch, columns); outputs: (batch, rows); bias: (rows) or null. Returns 1, or 0 and no output where the inputs
// are not summable.
int32_t packed_lookup(const uint32_t* words, const float* scale, const float* bias, const float* inputs, float* outputs,
                      int64_t rows, int64_t columns, int64_t batch) {
  if (!all_summable(inputs, columns, batch, *scale)) return 0;
  const int64_t groups = (columns + kColumns - 1) / kColumns;
  std::vector<float> padded(batch * groups * kColumns);
  for (int64_t i = 0; i < batch; i++)
    std::copy_n(inputs + i * columns, columns, padded.data() + i * groups * kColumns);
  const Lookup matrix{words, padded.data(), outputs, bias, rows, groups, *scale};
  const int64_t work = std::max<int64_t>(1, columns * batch / 16) * kPadding;  // a weight is a sixteenth of an element
  parallel_for((rows + kPadding - 1) / kPadding * work, [=, &matrix](int64_t begin, int64_t end) {
    const int64_t last = end / work * kPadding;
    for (int64_t first = begin / work * kPadding; first < last;) {
      const int64_t block = first / kRows * kRows, stop = std::min(last, block + kRows);
      for (int64_t example = 0; example < batch; example += 2)
        example + 1 < batch ? matrix.some<2>(block, first, stop, example) : matrix.some<1>(block, first, stop, example);
      first = stop;
    }
  });
  return 1;
}

// places: uint16 (narrow) or uint32; starts: (rows + 1), increasing in whole fours. Returns as packed_lookup.
int32_t packed_indices(const void* places, const int32_t* starts, const float* scale, const float* bias,
                       const float* inputs, float* outputs, int64_t rows, int64_t columns, int64_t batch,
                       int32_t narrow) {
  if (!all_summable(inputs, columns, batch, *scale)) return 0;
  auto run = [=](auto of_place) {
    using Place = decltype(of_place);
    Lists<Place>{static_cast<const Place*>(places), starts, outputs, bias, rows, *scale}.all(
        inputs, columns, batch);
  };
  narrow ? run(uint16_t{}) : run(uint32_t{});
  return 1;
}
}
