// The effective weight of a nudge, in one pass.
//
//   nudge:  out = w + c * step  (w null: c * step),   c = round(clamp(s * inverse, -levels, levels))
#include <cstdint>
#include <mutex>

#include "parallel.h"

namespace {

// Adding and subtracting it rounds |x| < 2^22 to the nearest whole number, half to even, and gives no -0.
constexpr float kRound = 12582912.0f;

template <bool kAround>
bool move(const float* weights, const float* scores, float* out, int64_t n, float inverse, float levels, float step) {
  bool any_nan = false;
  std::mutex lock;
  parallel_for(n, [&, weights, scores, out, inverse, levels, step](int64_t begin, int64_t end) {
    const float* __restrict w = weights;
    const float* __restrict s = scores;
    float* __restrict o = out;
    int32_t nan = 0;
    for (int64_t i = begin; i < end; i++) {
      float c = s[i] * inverse;
      nan |= c != c;
      c = c > levels ? levels : c;
      c = c < -levels ? -levels : c;
      c = ((c + kRound) - kRound) * step;
      o[i] = kAround ? w[i] + c : c;
    }
    const std::lock_guard guard(lock);
    any_nan |= nan != 0;
  });
  return any_nan;
}

}  // namespace

// Returns 1 if a score is NaN.
extern "C" int32_t nudge(const float* weights, const float* scores, float* out, int64_t n, float inverse, float levels,
                         float step) {
  return weights == nullptr ? move<false>(weights, scores, out, n, inverse, levels, step)
                            : move<true>(weights, scores, out, n, inverse, levels, step);
}
