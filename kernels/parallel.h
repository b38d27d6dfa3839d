// The one thread pool.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "tensor/context.h"

namespace halftone {

// Calls body(begin, end) over [0, n) in chunks of at least `grain` on the context's threads.
// Chunks are contiguous; their bounds depend on the thread count, so a body must not
// let its result depend on them (reductions: reduce_chunks of reduce.h).
template <class Body>
void parallel_for(const Context& context, int64_t n, int64_t grain, Body body) {
  const int64_t wanted = (n + grain - 1) / std::max<int64_t>(grain, 1);
  const int threads = static_cast<int>(std::min<int64_t>(context.threads(), wanted));
  if (threads <= 1) {
    if (n > 0) body(int64_t{0}, n);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const int64_t t = omp_get_thread_num(), count = omp_get_num_threads();
    const int64_t begin = n * t / count, end = n * (t + 1) / count;
    if (begin < end) body(begin, end);
  }
}

}  // namespace halftone
