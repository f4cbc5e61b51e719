// The way back from the effective weight to the scores, in one pass, and with the optimizer's step in the same pass.
//
//   straight_through:  ds = sign(s) * w * g         (signed: w * g),   g being the gradient of the effective weight
//   sgd_step, adam_step:  ds as above, then what torch's own optimizers do with it, in their order of operations
#include <cmath>
#include <cstdint>

#include "parallel.h"

namespace {

// a * b + c, rounded once where the machine can: so do torch's own optimizers there.
inline float multiply_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

template <bool kSigned>
inline float to_score(float score, float weight, float gradient) {
  if (kSigned) return weight * gradient;
  const float sign = static_cast<float>((score > 0.0f) - (score < 0.0f));
  return sign * weight * gradient;
}

template <bool kSigned>
void back(const float* gradients, const float* weights, const float* scores, float* out, int64_t n) {
  parallel_for(n, [=](int64_t begin, int64_t end) {
    const float* __restrict g = gradients;
    const float* __restrict w = weights;
    const float* __restrict s = scores;
    float* __restrict o = out;
    for (int64_t i = begin; i < end; i++) o[i] = to_score<kSigned>(s[i], w[i], g[i]);
  });
}

}  // namespace

extern "C" {

struct Sgd {
  float lr, momentum, weight_decay;
  int32_t nesterov;
};

struct Adam {
  float step_size, mean_share, beta2, square_share, eps, weight_decay, correction2_root;  // shares: 1 - beta
};
}

namespace {

template <bool kSigned, bool kMomentum>
void sgd(const float* gradients, const float* weights, float* scores, float* momenta, int64_t n, Sgd sgd) {
  parallel_for(n, [=](int64_t begin, int64_t end) {
    const float* __restrict g = gradients;
    const float* __restrict w = weights;
    float* __restrict s = scores;
    float* __restrict m = momenta;
    for (int64_t i = begin; i < end; i++) {
      float move = multiply_add(s[i], sgd.weight_decay, to_score<kSigned>(s[i], w[i], g[i]));
      if (kMomentum) {
        const float momentum = m[i] * sgd.momentum + move;
        m[i] = momentum;
        move = sgd.nesterov ? multiply_add(momentum, sgd.momentum, move) : momentum;
      }
      s[i] = multiply_add(-move, sgd.lr, s[i]);
    }
  });
}

template <bool kSigned>
void adam(const float* gradients, const float* weights, float* scores, float* means, float* squares, int64_t n,
          Adam adam) {
  parallel_for(n, [=](int64_t begin, int64_t end) {
    const float* __restrict g = gradients;
    const float* __restrict w = weights;
    float* __restrict s = scores;
    float* __restrict m = means;
    float* __restrict v = squares;
    for (int64_t i = begin; i < end; i++) {
      const float move = multiply_add(s[i], adam.weight_decay, to_score<kSigned>(s[i], w[i], g[i]));
      m[i] = multiply_add(adam.mean_share, move - m[i], m[i]);
      v[i] = v[i] * adam.beta2 + move * move * adam.square_share;
      s[i] -= adam.step_size * m[i] / (std::sqrt(v[i]) / adam.correction2_root + adam.eps);
    }
  });
}

}  // namespace

extern "C" {

void straight_through(const float* gradients, const float* weights, const float* scores, float* out, int64_t n,
                      int32_t is_signed) {
  is_signed ? back<true>(gradients, weights, scores, out, n) : back<false>(gradients, weights, scores, out, n);
}

// `momenta` is null without momentum.
void sgd_step(const float* gradients, const float* weights, float* scores, float* momenta, int64_t n,
              int32_t is_signed, const Sgd* how) {
  auto run = momenta ? (is_signed ? sgd<true, true> : sgd<false, true>) : (is_signed ? sgd<true, false> : sgd<false, false>);
  run(gradients, weights, scores, momenta, n, *how);
}

void adam_step(const float* gradients, const float* weights, float* scores, float* means, float* squares, int64_t n,
               int32_t is_signed, const Adam* how) {
  (is_signed ? adam<true> : adam<false>)(gradients, weights, scores, means, squares, n, *how);
}
}
