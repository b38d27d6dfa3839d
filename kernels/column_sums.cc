#include "kernels/column_sums.h"

#include "kernels/device.h"
#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kChunkRows = 512, kWide = 64;

void add_rows(const float* x, int64_t rows, int64_t columns, float* sums) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * columns;
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) sums[c] += row[c];
  }
}

}  // namespace

void add_column_sums(const float* x, int64_t rows, int64_t columns, float* sums) {
  if (columns > kWide / 2) return add_rows(x, rows, columns, sums);
  // Several rows count as one wide row, so that the vectors are full.
  const int64_t fold = kWide / columns, whole = rows / fold * fold;
  float wide[kWide] = {};
  add_rows(x, rows / fold, fold * columns, wide);
  add_rows(wide, fold, columns, sums);
  add_rows(x + whole * columns, rows - whole, columns, sums);
}

void column_sums(const Tensor& x, Tensor& out) {
  HALFTONE_ON_DEVICE(column_sums, x, x, out);
  const int64_t columns = out.numel(), rows = x.numel() / std::max<int64_t>(columns, 1);
  const int64_t chunks = (rows + kChunkRows - 1) / kChunkRows;
  Tensor partial = Tensor::empty(x.context(), {std::max<int64_t>(chunks, 1), columns});
  const float* source = x.data<float>();
  float* sums = partial.data<float>();
  const int64_t grain = std::max<int64_t>(1, 32768 / (kChunkRows * std::max<int64_t>(columns, 1)));
  parallel_for(x.context(), chunks, grain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i * kChunkRows, count = std::min(kChunkRows, rows - first);
      add_column_sums(source + first * columns, count, columns,
                      std::fill_n(sums + i * columns, columns, 0.0f) - columns);
    }
  });
  for (int64_t c = 0; c < columns; ++c) {
    double total = 0.0;
    for (int64_t i = 0; i < chunks; ++i) total += sums[i * columns + c];
    out.data<float>()[c] = static_cast<float>(total);
  }
}

}  // namespace halftone::kernels
