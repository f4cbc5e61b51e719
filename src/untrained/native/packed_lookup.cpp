// Products of matrices of trits with vectors by lookup: y = scale * (t x) + bias, t being of {-1, 0, 1}.
//
// Three trits are a code of five bits, and six codes are a word, at its bits 0, 5, 10, 16, 21, 26. Rows lie in
// blocks of 1024, the last one padded to whole sixteens; in a block, words[group of 18 columns][row]. The
// summand of a code in its row is looked up in a table of the sums of ±x0, ±x1, ±x2, which stays in registers
// for a block. It is a number that bits 0 to 2 choose plus one that bits 2 to 4 choose, because a register of
// AVX2 holds eight.
#include <algorithm>
#include <cstdint>
#include <vector>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "parallel.h"
#include "summable.h"

namespace {

constexpr int64_t kTables = 6, kColumns = 3 * kTables;
constexpr int64_t kPadding = 16, kRows = 1024;  // of a block, whose sums stay in the first cache
constexpr int64_t kGroups = 32;                 // summed before they join a total, so that rounding does not pile up

// What bits 0 to 2 and bits 2 to 4 of a code add to its three trits, side by side: 0 is nowhere 1 - 1, which would round.
constexpr int kLow[3][8] = {{-1, -1, 0, 0, -1, 0, 1, 1}, {-1, 0, -1, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, -1, 0}};
constexpr int kHigh[3][8] = {{0, 0, 0, 0, 0, 0, 1, 0}, {0, -1, 0, 0, 1, 1, 0, 1}, {-1, 0, 1, 0, -1, 0, 1, 1}};

struct Digits {
  float low[3][8], high[3][8], both[3][32];

  constexpr Digits() : low(), high(), both() {
    for (int trit = 0; trit < 3; trit++) {
      for (int i = 0; i < 8; i++) low[trit][i] = kLow[trit][i], high[trit][i] = kHigh[trit][i];
      for (int code = 0; code < 32; code++) both[trit][code] = kLow[trit][code & 7] + kHigh[trit][code >> 2];
    }
  }
};
alignas(64) constexpr Digits kDigits;

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
  Floats first, second;

  explicit Table(const float* x) : first(sums(x, 0)), second(sums(x, 16)) {}

  static Floats sums(const float* x, int from) {
    Floats sum = _mm512_mul_ps(load(kDigits.both[0] + from), _mm512_set1_ps(x[0]));
    sum = _mm512_fmadd_ps(load(kDigits.both[1] + from), _mm512_set1_ps(x[1]), sum);
    return _mm512_fmadd_ps(load(kDigits.both[2] + from), _mm512_set1_ps(x[2]), sum);
  }

  Floats at(Words w) const { return _mm512_permutex2var_ps(first, w, second); }  // reads the lowest five bits alone
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

  explicit Table(const float* x) : low(sums(x, kDigits.low)), high(sums(x, kDigits.high)) {}

  static Floats sums(const float* x, const float (&digits)[3][8]) {
    Floats sum = _mm256_mul_ps(load(digits[0]), _mm256_set1_ps(x[0]));
    sum = _mm256_fmadd_ps(load(digits[1]), _mm256_set1_ps(x[1]), sum);
    return _mm256_fmadd_ps(load(digits[2]), _mm256_set1_ps(x[2]), sum);
  }

  Floats at(Words w) const {  // reads the lowest three bits alone, twice
    return add(_mm256_permutevar8x32_ps(low, w), _mm256_permutevar8x32_ps(high, _mm256_srli_epi32(w, 2)));
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
    for (int i = 0; i < 32; i++)
      sums[i] = kDigits.both[0][i] * x[0] + kDigits.both[1][i] * x[1] + kDigits.both[2][i] * x[2];
  }

  Floats at(Words w) const { return sums[w & 31]; }
};

template <int kShift>
inline Words shifted(Words w) {
  return w >> kShift;
}

#endif

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
}
