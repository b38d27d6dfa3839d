// Reductions whose bits do not depend on the thread count: chunk bounds follow from the problem's
// size alone, and partial results are added in the order of the chunks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/parallel.h"
#include "tensor/tensor.h"

namespace halftone {

inline int64_t chunk_count(int64_t n, int64_t chunk) { return (n + chunk - 1) / chunk; }

// Calls body(index, begin, end) for every chunk of [0, n); the last one may be shorter.
template <class Body>
void for_chunks(const Context& context, int64_t n, int64_t chunk, Body body) {
  parallel_for(context, chunk_count(n, chunk), 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) body(i, i * chunk, std::min(n, (i + 1) * chunk));
  });
}

// Scratch for `count` doubles from the context's (planned) memory.
class DoubleScratch {
 public:
  DoubleScratch(const Context& context, int64_t count)
      : words_(Tensor::empty(context, Shape{count * 2})) {}
  double* data() { return reinterpret_cast<double*>(words_.raw()); }

 private:
  Tensor words_;
};

// The sum of body(begin, end), a double, over the chunks.
template <class Body>
double reduce_chunks(const Context& context, int64_t n, int64_t chunk, Body body) {
  if (n <= chunk) return n > 0 ? body(int64_t{0}, n) : 0.0;
  DoubleScratch partial(context, chunk_count(n, chunk));
  double* sums = partial.data();
  for_chunks(context, n, chunk,
             [&](int64_t i, int64_t begin, int64_t end) { sums[i] = body(begin, end); });
  double total = 0.0;
  for (int64_t i = 0; i < chunk_count(n, chunk); ++i) total += sums[i];
  return total;
}

}  // namespace halftone
