// Many masks of one weight, eight elements a byte: the weight under one mask, under a mixture of them, and the product
// of a gradient with each. Element 8i + j is bit j of byte i.
#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "parallel.h"

namespace {

constexpr int64_t kBlock = 16384;  // elements: a block of floats stays in the second cache while all masks pass it

#if defined(__AVX512F__)

using Floats = __m512;
constexpr int64_t kLanes = 16;

inline void load(Floats& to, const float* from) { to = _mm512_loadu_ps(from); }
inline void store(float* to, const Floats& from) { _mm512_storeu_ps(to, from); }
inline void fill(Floats& to, float value) { to = _mm512_set1_ps(value); }

struct Mask {
  __mmask16 lanes;

  explicit Mask(const uint8_t* bits) {
    uint16_t both;
    std::memcpy(&both, bits, 2);
    lanes = both;
  }
  void cut(Floats& values) const { values = _mm512_maskz_mov_ps(lanes, values); }
  void add(Floats& sums, const Floats& values) const { sums = _mm512_mask_add_ps(sums, lanes, sums, values); }
};

#else

typedef float Floats __attribute__((vector_size(32)));  // two registers where they are narrower
typedef int32_t Words __attribute__((vector_size(32)));
constexpr int64_t kLanes = 8;

inline void load(Floats& to, const float* from) { std::memcpy(&to, from, sizeof to); }
inline void store(float* to, const Floats& from) { std::memcpy(to, &from, sizeof from); }
inline void fill(Floats& to, float value) { to = value - Floats{}; }

// All ones in the lanes of a byte's set bits, for each byte.
struct Table {
  alignas(32) int32_t lanes[256][8];

  constexpr Table() : lanes() {
    for (int byte = 0; byte < 256; byte++)
      for (int bit = 0; bit < 8; bit++) lanes[byte][bit] = -((byte >> bit) & 1);
  }
};
constexpr Table kTable;

struct Mask {
  Words lanes;

  explicit Mask(const uint8_t* bits) { std::memcpy(&lanes, kTable.lanes[*bits], sizeof lanes); }
  void cut(Floats& values) const { values = reinterpret_cast<Floats>(reinterpret_cast<Words>(values) & lanes); }
  void add(Floats& sums, const Floats& values) const {
    sums += reinterpret_cast<Floats>(reinterpret_cast<Words>(values) & lanes);
  }
};

#endif

inline bool is_set(const uint8_t* bits, int64_t i) { return (bits[i / 8] >> (i % 8)) & 1; }

// Calls body(first, last) for parts of n elements that begin at whole bytes of a mask.
template <class F>
void each_part(int64_t n, const F& body) {
  parallel_for(n, [n, &body](int64_t begin, int64_t end) {
    body(begin / kLanes * kLanes, end == n ? n : end / kLanes * kLanes);
  });
}

double sum_masked(const uint8_t* bits, const float* values, int64_t n) {
  constexpr int64_t kChains = 4;  // of additions that wait for each other
  Floats chains[kChains] = {}, some;
  int64_t i = 0;
  for (; i + kChains * kLanes <= n; i += kChains * kLanes)
    for (int64_t c = 0; c < kChains; c++) {
      load(some, values + i + c * kLanes);
      Mask(bits + (i + c * kLanes) / 8).add(chains[c], some);
    }
  for (; i + kLanes <= n; i += kLanes) {
    load(some, values + i);
    Mask(bits + i / 8).add(chains[0], some);
  }
  double sum = 0;
  for (; i < n; i++)
    if (is_set(bits, i)) sum += values[i];
  float lanes[kLanes];
  store(lanes, (chains[0] + chains[1]) + (chains[2] + chains[3]));
  for (const float lane : lanes) sum += lane;
  return sum;
}

void add_masked(float* sums, const uint8_t* bits, float share, int64_t n) {
  Floats shares, some;
  fill(shares, share);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    load(some, sums + i);
    Mask(bits + i / 8).add(some, shares);
    store(sums + i, some);
  }
  for (; i < n; i++)
    if (is_set(bits, i)) sums[i] += share;
}

}  // namespace

// out = weight where the bit is set, and +0 elsewhere.
extern "C" void place_masked(const uint8_t* bits, const float* weight, int64_t n, float* out) {
  each_part(n, [=](int64_t i, int64_t end) {
    Floats some;
    for (; i + kLanes <= end; i += kLanes) {
      load(some, weight + i);
      Mask(bits + i / 8).cut(some);
      store(out + i, some);
    }
    for (; i < end; i++) out[i] = is_set(bits, i) ? weight[i] : 0.0f;
  });
}

// out = weight * sum over the masks of share where the bit is set, added in their order.
extern "C" void mix_masks(const uint8_t* const* bits, const float* shares, int64_t masks, const float* weight,
                          int64_t n, float* out) {
  each_part(n, [=](int64_t begin, int64_t end) {
    for (int64_t start = begin; start < end; start += kBlock) {
      const int64_t count = std::min(kBlock, end - start);
      float sums[kBlock] = {};
      for (int64_t i = 0; i < masks; i++) add_masked(sums, bits[i] + start / 8, shares[i], count);
      for (int64_t k = 0; k < count; k++) out[start + k] = weight[start + k] * sums[k];
    }
  });
}

// sums[i] = sum of the products where the bit of mask i is set; one thread has all elements of a mask.
extern "C" void project_masks(const uint8_t* const* bits, int64_t masks, const float* products, int64_t n,
                              double* sums) {
  std::fill_n(sums, masks, 0.0);
  if (n == 0) return;
  parallel_for(masks * n, [=](int64_t begin, int64_t end) {
    for (int64_t start = 0; start < n; start += kBlock)
      for (int64_t i = begin / n; i < end / n; i++)
        sums[i] += sum_masked(bits[i] + start / 8, products + start, std::min(kBlock, n - start));
  });
}

// The same for each row of the products: sums[i * rows + r] is that of row r.
extern "C" void project_rows(const uint8_t* const* bits, int64_t masks, const float* products, int64_t rows,
                             int64_t columns, double* sums) {
  const int64_t all = rows * columns, some = std::max<int64_t>(1, kBlock / columns);  // rows that stay in a cache
  parallel_for(masks * all, [=](int64_t begin, int64_t end) {
    for (int64_t start = 0; start < rows; start += some)
      for (int64_t i = begin / all; i < end / all; i++)
        for (int64_t r = start; r < std::min(rows, start + some); r++) {
          const float* row = products + r * columns;
          const int64_t first = r * columns, head = std::min((8 - first % 8) % 8, columns);  // up to a whole byte
          double sum = 0;
          for (int64_t k = 0; k < head; k++)
            if (is_set(bits[i], first + k)) sum += row[k];
          sums[i * rows + r] = sum + sum_masked(bits[i] + (first + head) / 8, row + head, columns - head);
        }
  });
}
