// Products of matrices of few trits with vectors by lists: y = scale * (t x) + bias, t being of {-1, 0, 1}.
//
// For every row the trits other than 0 in the order of their places in (x, -x), where a 0 follows every 84
// numbers; of each the step from the one before, the first from place 0. A step that is too long for its type
// is made in several, over places of 0. Rows are sorted by length, the longest first; eight are a group, whose
// steps alternate, and the shorter ones end at a place of 0, where they stay.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "parallel.h"
#include "summable.h"

namespace {

// Inputs are one example or kWidth side by side. Eight sums at once hide how long an addition takes, so that
// fewer rows are read together where each has several.
constexpr int64_t kTogether = 8, kSpan = 85;  // rows of a group; places from one 0 to the next
constexpr int64_t kSteps = 256;               // summed before they join a total, so that rounding does not pile up
constexpr int64_t kTile = 64;                 // rows of outputs that are written together
constexpr int64_t kWorth = 4;                 // fewer examples go one by one

#if defined(__AVX512F__)
constexpr int64_t kNative = 16;
#elif defined(__AVX2__)
constexpr int64_t kNative = 8;
#else
constexpr int64_t kNative = 4;
#endif

template <int64_t kSize>
struct Vector;
template <>
struct Vector<1> {
  using Type = float;
};
template <>
struct Vector<4> {
  typedef float Type __attribute__((vector_size(16), aligned(4), may_alias));
};
template <>
struct Vector<8> {
  typedef float Type __attribute__((vector_size(32), aligned(4), may_alias));
};
template <>
struct Vector<16> {
  typedef float Type __attribute__((vector_size(64), aligned(4), may_alias));
};

// to[column][row] = factor * from[row][column], the rows of both so far apart.
void transpose(const float* from, int64_t apart, int64_t rows, int64_t columns, float factor, float* to, int64_t to_apart) {
  int64_t row = 0;
#if defined(__SSE2__)
  const __m128 by = _mm_set1_ps(factor);
  const int64_t whole = columns / 4 * 4;
  for (; row + 4 <= rows; row += 4) {
    for (int64_t c = 0; c < whole; c += 4) {
      const float* at = from + row * apart + c;
      __m128 a = _mm_mul_ps(by, _mm_loadu_ps(at)), b = _mm_mul_ps(by, _mm_loadu_ps(at + apart));
      __m128 d = _mm_mul_ps(by, _mm_loadu_ps(at + 2 * apart)), e = _mm_mul_ps(by, _mm_loadu_ps(at + 3 * apart));
      _MM_TRANSPOSE4_PS(a, b, d, e);
      float* there = to + c * to_apart + row;
      _mm_storeu_ps(there, a), _mm_storeu_ps(there + to_apart, b);
      _mm_storeu_ps(there + 2 * to_apart, d), _mm_storeu_ps(there + 3 * to_apart, e);
    }
    for (int64_t c = whole; c < columns; c++)
      for (int64_t r = row; r < row + 4; r++) to[c * to_apart + r] = factor * from[r * apart + c];
  }
#endif
  for (; row < rows; row++)
    for (int64_t c = 0; c < columns; c++) to[c * to_apart + row] = factor * from[row * apart + c];
}

// (x, -x) with its places of 0 for `there` examples of kWidth, one beside the other. In spans: whole columns of all
// examples would push one another out of the cache.
template <int64_t kWidth>
void spread(const float* inputs, int64_t columns, int64_t there, float* x) {
  for (int64_t from = 0; from < 2 * columns; from += kSpan - 1, x += kSpan * kWidth) {
    const int64_t to = std::min(2 * columns, from + kSpan - 1), middle = std::clamp(columns, from, to);
    const float *plus = inputs + from, *minus = inputs + middle - columns;
    float* negatives = x + (middle - from) * kWidth;
    if (there < kWidth) std::fill_n(x, kSpan * kWidth, 0.0f);
    if constexpr (kWidth == 1) {
      std::copy_n(plus, middle - from, x);
      std::transform(minus, minus + (to - middle), negatives, [](float value) { return -value; });
    } else {
      if (from < middle) transpose(plus, columns, there, middle - from, 1, x, kWidth);
      if (middle < to) transpose(minus, columns, there, to - middle, -1, negatives, kWidth);
    }
    std::fill_n(x + (kSpan - 1) * kWidth, kWidth, 0.0f);
  }
}

template <class Step>
struct Lists {
  const Step* steps;
  const int32_t* starts;  // of each group, and where the last one ends
  const int32_t* order;   // the row of each list
  const float* bias;      // or null
  int64_t rows, groups;
  float scale;

  template <int64_t kWidth>
  void group(int64_t number, const float* x, float* found) const {
    constexpr int64_t kSize = std::min(kWidth, kNative), kParts = kWidth / kSize, kAbreast = kTogether / kParts;
    using Sum = typename Vector<kSize>::Type;
    for (int64_t lane = 0; lane < kTogether; lane += kAbreast) {
      const Step *at = steps + starts[number] + lane, *end = steps + starts[number + 1] + lane;
      const float* places[kAbreast];
      std::fill_n(places, kAbreast, x);
      Sum totals[kAbreast][kParts] = {};
      while (at < end) {
        Sum sums[kAbreast][kParts] = {};
        for (const Step* stop = at + std::min<int64_t>(end - at, kSteps * kTogether); at < stop; at += kTogether)
#pragma GCC unroll 8
          for (int64_t i = 0; i < kAbreast; i++) {
            places[i] += at[i] * kWidth;
#pragma GCC unroll 8
            for (int64_t part = 0; part < kParts; part++)
              sums[i][part] += *reinterpret_cast<const Sum*>(places[i] + part * kSize);
          }
        for (int64_t i = 0; i < kAbreast; i++)
          for (int64_t part = 0; part < kParts; part++) totals[i][part] += sums[i][part];
      }
      const int64_t left = rows - number * kTogether - lane;  // in the last group there may be lists of no row
      for (int64_t i = 0; i < std::min(kAbreast, left); i++)
        std::memcpy(found + order[number * kTogether + lane + i] * kWidth, totals[i], sizeof totals[i]);
    }
  }

  // Groups are shared among threads by their steps: the first ones are the longest.
  int64_t cost(int64_t number) const { return starts[number] + number * kTogether; }

  template <int64_t kWidth>
  void examples(const float* inputs, int64_t columns, int64_t there, float* outputs, float* x, float* found) const {
    spread<kWidth>(inputs, columns, there, x);
    parallel_for(cost(groups), [=, this](int64_t begin, int64_t end) {
      int64_t first = 0;
      while (first < groups && cost(first) < begin) first++;
      for (; first < groups && cost(first) < end; first++) group<kWidth>(first, x, found);
    });
    for (int64_t from = 0; from < rows; from += kTile) {
      const int64_t height = std::min(kTile, rows - from);
      for (int64_t i = 0; i < there; i += 4) {  // lines of more outputs at once may push one another out of the cache
        float* to = outputs + i * rows + from;
        transpose(found + from * kWidth + i, kWidth, height, std::min<int64_t>(4, there - i), scale, to, rows);
      }
      for (int64_t i = 0; i < there && bias; i++)
        for (int64_t r = from; r < from + height; r++) outputs[i * rows + r] += bias[r];
    }
  }

  void all(const float* inputs, int64_t columns, int64_t batch, float* outputs) const {
    const int64_t width = batch < kWorth ? 1 : batch <= 8 ? 8 : 16;
    const int64_t places = (2 * columns + kSpan - 2) / (kSpan - 1) * kSpan;
    const auto scratch = std::make_unique_for_overwrite<float[]>((places + rows) * width);
    float *x = scratch.get(), *found = x + places * width;
    for (int64_t there; batch > 0; batch -= there, inputs += there * columns, outputs += there * rows) {
      there = batch < kWorth ? 1 : std::min<int64_t>(16, batch);
      if (there == 1) examples<1>(inputs, columns, there, outputs, x, found);
      else if (there <= 8) examples<8>(inputs, columns, there, outputs, x, found);
      else examples<16>(inputs, columns, there, outputs, x, found);
    }
  }
};

}  // namespace
extern "C" {
// steps: uint8, or uint16 where they are wide; starts: (groups + 1), increasing in whole eights; order: (rows), each
// row once. Returns as packed_lookup.
int32_t packed_indices(const void* steps, const int32_t* starts, const float* scale, const float* bias,
                       const float* inputs, float* outputs, int64_t rows, int64_t columns, int64_t batch,
                       int32_t wide) {
  if (!all_summable(inputs, columns, batch, *scale)) return 0;
  const int64_t groups = (rows + kTogether - 1) / kTogether;
  auto run = [=](auto of_step) {
    using Step = decltype(of_step);
    Lists<Step>{static_cast<const Step*>(steps), starts, starts + groups + 1, bias, rows, groups, *scale}.all(
        inputs, columns, batch, outputs);
  };
  wide ? run(uint16_t{}) : run(uint8_t{});
  return 1;
}
}
