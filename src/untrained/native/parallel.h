// Loops over ranges on torch's threads: Python passes `torch_parallel_for` of torch's stable C interface.
#pragma once
#include <cstdint>

using Body = void (*)(int64_t begin, int64_t end, void* context);
using ParallelFor = int (*)(int64_t begin, int64_t end, int64_t grain, Body body, void* context);

inline ParallelFor torch_parallel_for = nullptr;  // null: this torch has none, everything runs on one thread

// Fewer elements than this take less time than starting a thread.
constexpr int64_t kGrain = 1 << 16;

template <class F>
void parallel_for(int64_t n, const F& body) {
  auto call = [](int64_t begin, int64_t end, void* context) { (*static_cast<const F*>(context))(begin, end); };
  if (torch_parallel_for == nullptr || n <= kGrain ||
      torch_parallel_for(0, n, kGrain, call, const_cast<F*>(&body)) != 0)
    body(0, n);
}
