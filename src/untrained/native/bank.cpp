// Many masks of one weight, eight elements a byte: the weight under one mask, under a mixture of them, and the product
// of a gradient with each. Element 8i + j is bit j of byte i.
#include <cstdint>
#include <cstring>

#include "parallel.h"

namespace {

constexpr int64_t kBlock = 512;  // elements, a multiple of 8: a block of floats stays in the first cache

// All ones where the bit is set, else 0.
inline uint32_t select(uint32_t byte, int bit) { return 0u - ((byte >> bit) & 1u); }

inline float cut(float value, uint32_t mask) {
  uint32_t raw;
  std::memcpy(&raw, &value, 4);
  raw &= mask;
  std::memcpy(&value, &raw, 4);
  return value;
}

// Calls body(first element, number of elements) for the bytes from begin to end, in blocks.
template <class F>
void each_block(int64_t begin, int64_t end, int64_t n, const F& body) {
  for (int64_t start = 8 * begin; start < 8 * end && start < n; start += kBlock) {
    int64_t stop = start + kBlock < 8 * end ? start + kBlock : 8 * end;
    body(start, (stop < n ? stop : n) - start);
  }
}

}  // namespace

// out = weight where the bit is set, and +0 elsewhere.
extern "C" void place_masked(const uint8_t* bits, const float* weight, int64_t n, float* out) {
  parallel_for((n + 7) / 8, [&](int64_t begin, int64_t end) {
    const float* __restrict from = weight;
    float* __restrict to = out;
    const int64_t whole = end < n / 8 ? end : n / 8;
    for (int64_t i = begin; i < whole; i++) {
      const uint32_t byte = bits[i];
      for (int j = 0; j < 8; j++) to[8 * i + j] = cut(from[8 * i + j], select(byte, j));
    }
    for (int64_t k = 8 * whole; k < n && k < 8 * end; k++) to[k] = cut(from[k], select(bits[k / 8], k % 8));
  });
}

// out = weight * sum over the masks of share where the bit is set, added in their order.
extern "C" void mix_masks(const uint8_t* const* bits, const float* shares, int64_t masks, const float* weight,
                          int64_t n, float* out) {
  parallel_for((n + 7) / 8, [&](int64_t begin, int64_t end) {
    each_block(begin, end, n, [&](int64_t start, int64_t count) {
      float sums[kBlock] = {};
      for (int64_t i = 0; i < masks; i++) {
        const uint8_t* from = bits[i] + start / 8;
        const float share = shares[i];
        for (int64_t b = 0; b < (count + 7) / 8; b++) {
          const uint32_t byte = from[b];
          for (int j = 0; j < 8; j++) sums[8 * b + j] += cut(share, select(byte, j));
        }
      }
      for (int64_t k = 0; k < count; k++) out[start + k] = weight[start + k] * sums[k];
    });
  });
}

// sums[i] = sum of the products where the bit of mask i is set; one thread has all elements of a mask.
extern "C" void project_masks(const uint8_t* const* bits, int64_t masks, const float* products, int64_t n,
                              double* sums) {
  for (int64_t i = 0; i < masks; i++) sums[i] = 0;
  each_block(0, (n + 7) / 8, n, [&](int64_t start, int64_t count) {
    float block[kBlock] = {};
    std::memcpy(block, products + start, 4 * count);
    for (int64_t i = 0; i < masks; i++) {
      const uint8_t* from = bits[i] + start / 8;
      float lanes[8] = {};
      for (int64_t b = 0; b < (count + 7) / 8; b++) {
        const uint32_t byte = from[b];
        for (int j = 0; j < 8; j++) lanes[j] += cut(block[8 * b + j], select(byte, j));
      }
      double sum = 0;
      for (float lane : lanes) sum += lane;
      sums[i] += sum;
    }
  });
}
