// The choice fused with the product: out = w where the score is among the highest `keep` of all, 0 elsewhere.
//
// Scores are compared as integers of the same order. A hint, the threshold of the last time and how far it may have
// moved, gives a band; one pass writes everything above the band, counts it, and collects the candidates inside. If
// the threshold turns out to lie in the band, the candidates are ranked exactly, lowest index first. If not, a
// sample suggests another band, up to the whole range. So a wrong hint costs time, never exactness.
#include <algorithm>
#include <bit>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

#include "parallel.h"

namespace {

constexpr int64_t kBlock = 128;
constexpr int64_t kLeastSample = 1 << 13, kMostSample = 1 << 16;  // the more, the narrower the band
constexpr int32_t kInfinity = 0x7f800000;

struct Candidate {
  int32_t key;
  int64_t index;  // over all parts, in C order
};

bool before(const Candidate& a, const Candidate& b) { return a.key > b.key || (a.key == b.key && a.index < b.index); }

template <bool kSigned>
inline int32_t key_of(float score) {
  const int32_t bits = std::bit_cast<int32_t>(score), size = bits & INT32_MAX;
  if (!kSigned) return size;
  const int32_t negative = bits >> 31;
  return (size ^ negative) - negative;  // -0 is +0
}

inline int32_t clamped(int64_t key) {
  return static_cast<int32_t>(std::clamp<int64_t>(key, INT32_MIN, INT32_MAX));
}

}  // namespace

extern "C" {

struct Part {
  const float* scores;
  const float* weights;
  float* out;
  int64_t n;
};

struct Hint {
  int64_t threshold;
  int64_t width;  // in units of the last place; below 0: there is no hint
};

// Crowded: so many equal scores that collecting them would take more memory than the plain path needs.
enum Outcome : int32_t { kWarm = 0, kCold = 1, kNaN = 2, kCrowded = 3 };
}

namespace {

// The result of one pass over all scores.
struct Pass {
  int64_t above = 0;
  bool nan = false;
  bool full = false;  // more candidates than are worth collecting
  std::vector<Candidate> band;
};

template <bool kSigned>
void one_range(const Part& part, int64_t begin, int64_t end, int64_t offset, int32_t low, int32_t high, size_t most,
               std::mutex& lock, Pass& pass) {
  const float* __restrict scores = part.scores;
  const float* __restrict weights = part.weights;
  float* __restrict out = part.out;
  int64_t above = 0;
  int32_t largest = 0;
  bool full = false;
  std::vector<Candidate> band;
  for (int64_t start = begin; start < end; start += kBlock) {
    int32_t count = 0, inside = 0;
    auto element = [&](int64_t i) {
      const int32_t key = key_of<kSigned>(scores[i]);
      const float weight = weights[i];
      largest = std::max(largest, std::bit_cast<int32_t>(scores[i]) & INT32_MAX);
      out[i] = key > high ? weight : 0.0f;
      count += key > high;
      inside |= (key >= low) & (key <= high);
    };
    if (end - start >= kBlock)
      for (int64_t i = start; i < start + kBlock; i++) element(i);
    else
      for (int64_t i = start; i < end; i++) element(i);
    above += count;
    if (!inside) continue;
    // A byte per element, which is a few vector instructions; then eight at a time, of which most are 0.
    uint64_t flags[kBlock / 8] = {};
    uint8_t* const flag = reinterpret_cast<uint8_t*>(flags);
    const int64_t length = std::min(end - start, kBlock);
    for (int64_t i = 0; i < length; i++) {
      const int32_t key = key_of<kSigned>(scores[start + i]);
      flag[i] = (key >= low) & (key <= high);
    }
    for (int64_t eight = 0; eight < kBlock / 8; eight++) {
      if (!flags[eight]) continue;
      for (int64_t i = start + 8 * eight; i < start + 8 * eight + 8; i++)
        if (flag[i - start]) band.push_back({key_of<kSigned>(scores[i]), offset + i});
    }
    if (band.size() > most) full = true, band.clear();
  }
  const std::lock_guard guard(lock);
  pass.above += above;
  pass.nan |= largest > kInfinity;
  pass.full |= full;
  if (pass.band.empty())
    pass.band.swap(band);
  else
    pass.band.insert(pass.band.end(), band.begin(), band.end());
}

template <bool kSigned>
Pass pass_over(const Part* parts, int64_t count, int32_t low, int32_t high, size_t most) {
  Pass pass;
  std::mutex lock;
  int64_t offset = 0;
  for (const Part* part = parts; part < parts + count; offset += part->n, part++)
    parallel_for(part->n, [&, part](int64_t begin, int64_t end) {
      one_range<kSigned>(*part, begin, end, offset, low, high, most, lock, pass);
    });
  return pass;
}

// Returns true if the threshold lies in the band; then the best of the candidates are written too.
bool settled(const Part* parts, int64_t keep, Pass& pass, int64_t& threshold) {
  const int64_t wanted = keep - pass.above;
  if (pass.full || wanted < 1 || wanted > static_cast<int64_t>(pass.band.size())) return false;
  std::nth_element(pass.band.begin(), pass.band.begin() + (wanted - 1), pass.band.end(), before);
  threshold = pass.band[wanted - 1].key;
  for (int64_t i = 0; i < wanted; i++) {
    int64_t at = pass.band[i].index;
    const Part* part = parts;
    while (at >= part->n) at -= part++->n;
    part->out[at] = part->weights[at];
  }
  return true;
}

template <bool kSigned>
std::vector<int32_t> sampled(const Part* parts, int64_t count, int64_t n) {
  const int64_t stride = std::max<int64_t>(1, n / std::clamp(n / 64, kLeastSample, kMostSample));
  std::vector<int32_t> keys;
  keys.reserve(n / stride + 1);
  int64_t next = 0;
  for (const Part* part = parts; part < parts + count; next -= part->n, part++)
    for (; next < part->n; next += stride) keys.push_back(key_of<kSigned>(part->scores[next]));
  return keys;
}

template <bool kSigned>
int32_t choose(const Part* parts, int64_t count, int64_t keep, Hint& hint) {
  int64_t n = 0, threshold = 0;
  bool too_wide = false;
  for (const Part* part = parts; part < parts + count; part++) n += part->n;
  hint = {clamped(hint.threshold), clamped(hint.width)};
  if (hint.width >= 0) {
    const size_t most = n / 16 + 256;
    Pass pass = pass_over<kSigned>(parts, count, clamped(hint.threshold - hint.width),
                                   clamped(hint.threshold + hint.width), most);
    if (pass.nan) return kNaN;
    if (settled(parts, keep, pass, threshold)) {
      // Four times the last move, and never much wider than a 256th of all.
      const int64_t moved = std::abs(threshold - hint.threshold), narrower = hint.width - hint.width / 4;
      const bool wide = static_cast<int64_t>(pass.band.size()) > n / 256 + 64;
      hint = {threshold, wide ? std::min(4 * moved, narrower) : std::max<int64_t>(4 * moved, narrower)};
      hint.width = std::clamp<int64_t>(hint.width, 1, INT32_MAX);
      return kWarm;
    }
    too_wide = pass.full;
  }
  std::vector<int32_t> keys = sampled<kSigned>(parts, count, n);
  const auto quantile = [&](int64_t rank) {
    std::nth_element(keys.begin(), keys.begin() + rank, keys.end());
    return keys[rank];
  };
  const int64_t size = static_cast<int64_t>(keys.size());
  const int64_t centre = (n - keep) * size / n;
  for (int64_t spread = 3 * static_cast<int64_t>(__builtin_sqrt(static_cast<double>(size))) / 2 + 1;; spread *= 4) {
    const bool whole = spread >= size;
    const int32_t low = whole || centre - spread < 0 ? INT32_MIN : quantile(centre - spread);
    const int32_t high = whole || centre + spread >= size ? INT32_MAX : quantile(centre + spread);
    Pass pass = pass_over<kSigned>(parts, count, low, high, n / 4 + 4096);
    if (pass.nan) return kNaN;
    if (pass.full) return kCrowded;
    if (settled(parts, keep, pass, threshold)) {
      const int64_t moved = std::abs(threshold - hint.threshold);
      const int64_t guess = (static_cast<int64_t>(high) - low) / 16;
      const int64_t width = hint.width < 0 || too_wide || whole ? guess : std::max(2 * hint.width, 4 * moved);
      hint = {threshold, std::clamp<int64_t>(width, 1, INT32_MAX)};
      return kCold;
    }
  }
}

}  // namespace

extern "C" {

void use_parallel_for(ParallelFor of_torch) { torch_parallel_for = of_torch; }

// Keeps the `keep` highest of all scores of all parts, 0 < keep <= their number.
int32_t keep_top(const Part* parts, int64_t count, int64_t keep, int32_t is_signed, Hint* hint) {
  return is_signed ? choose<true>(parts, count, keep, *hint) : choose<false>(parts, count, keep, *hint);
}
}
