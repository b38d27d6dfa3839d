#include "kernels/column_sums.h"

#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kChunkRows = 512, kNarrow = 32;

void sum_rows(const float* x, int64_t rows, int64_t columns, float* out) {
  std::fill_n(out, columns, 0.0f);
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * columns;
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) out[c] += row[c];
  }
}

// The same for few columns: 16 rows count as one wide row, so that the vectors are full.
void sum_narrow_rows(const float* x, int64_t rows, int64_t columns, float* out) {
  constexpr int64_t kFold = 16;
  float wide[kFold * kNarrow];
  sum_rows(x, rows / kFold, kFold * columns, wide);
  sum_rows(wide, kFold, columns, out);
  for (int64_t i = rows / kFold * kFold * columns; i < rows * columns; ++i)
    out[i % columns] += x[i];
}

}  // namespace

void column_sums(const Tensor& x, Tensor& out) {
  const int64_t columns = out.numel(), rows = x.numel() / std::max<int64_t>(columns, 1);
  const int64_t chunks = (rows + kChunkRows - 1) / kChunkRows;
  Tensor partial = Tensor::empty(x.context(), {std::max<int64_t>(chunks, 1), columns});
  const float* source = x.data<float>();
  float* sums = partial.data<float>();
  const int64_t grain = std::max<int64_t>(1, 32768 / (kChunkRows * std::max<int64_t>(columns, 1)));
  parallel_for(x.context(), chunks, grain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i * kChunkRows, count = std::min(kChunkRows, rows - first);
      (columns <= kNarrow ? sum_narrow_rows : sum_rows)(source + first * columns, count, columns,
                                                        sums + i * columns);
    }
  });
  for (int64_t c = 0; c < columns; ++c) {
    double total = 0.0;
    for (int64_t i = 0; i < chunks; ++i) total += sums[i * columns + c];
    out.data<float>()[c] = static_cast<float>(total);
  }
}

}  // namespace halftone::kernels
