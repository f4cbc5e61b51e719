// The straight-through gradient from the effective weight to the scores, in one pass.
//
//   straight_through:  ds = sign(s) * w * g         (signed: w * g),   g being the gradient of the effective weight
#include <cstdint>

#include "parallel.h"

namespace {

template <bool kSigned>
void back(const float* gradients, const float* weights, const float* scores, float* out, int64_t n) {
  parallel_for(n, [=](int64_t begin, int64_t end) {
    const float* __restrict g = gradients;
    const float* __restrict w = weights;
    const float* __restrict s = scores;
    float* __restrict o = out;
    for (int64_t i = begin; i < end; i++) {
      const float sign = kSigned ? 1.0f : static_cast<float>((s[i] > 0.0f) - (s[i] < 0.0f));
      o[i] = sign * w[i] * g[i];
    }
  });
}

}  // namespace

extern "C" void straight_through(const float* gradients, const float* weights, const float* scores, float* out,
                                 int64_t n, int32_t is_signed) {
  is_signed ? back<true>(gradients, weights, scores, out, n) : back<false>(gradients, weights, scores, out, n);
}
