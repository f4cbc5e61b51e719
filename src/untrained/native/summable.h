// Checks of the inputs of packed layers.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

// Returns true if sums of ±x equal the products with the weight: no NaN or infinity, which times 0 would be NaN, and no
// sum that is too large before it is scaled.
inline bool summable(const float* x, int64_t columns, float scale) {
  constexpr int64_t kAtOnce = 16;
  float sums[kAtOnce] = {};  // side by side, so that they are added by vectors
  int64_t c = 0;
  for (; c + kAtOnce <= columns; c += kAtOnce)
    for (int64_t i = 0; i < kAtOnce; i++) sums[i] += std::abs(x[c + i]);
  for (; c < columns; c++) sums[0] += std::abs(x[c]);
  float all = 0;
  for (const float sum : sums) all += sum;
  return std::isfinite(2 * all * std::max(1.0f, scale));  // twice: their last bits depend on the order
}

[[gnu::noinline]]  // so that the loops of the kernels are compiled as they were without it
inline bool all_summable(const float* inputs, int64_t columns, int64_t batch, float scale) {
  for (int64_t i = 0; i < batch; i++)
    if (!summable(inputs + i * columns, columns, scale)) return false;
  return true;
}
