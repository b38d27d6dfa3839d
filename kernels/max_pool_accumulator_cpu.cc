#include <limits>
#include <vector>

#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/parallel.h"
#include "kernels/pool.h"
#include "kernels/pool_windows.h"

namespace halftone::kernels {
namespace {

// One output pixel's best so far. Flipping all bits of an int32 reverses the order, so a channel
// with flip -1 finds its minimum.
struct Best {
  explicit Best(int64_t channels) : value(channels), tap(channels) {}

  void start() { std::fill(value.begin(), value.end(), std::numeric_limits<int32_t>::min()); }
  void take(const int32_t* x, const int32_t* flip, uint8_t at, bool first) {
    for (size_t c = 0; c < value.size(); ++c) {
      const int32_t v = x[c] ^ flip[c];
      const bool better = first | (v > value[c]);
      value[c] = better ? v : value[c];
      tap[c] = better ? at : tap[c];
    }
  }
  void store(const int32_t* flip, int32_t* y, uint8_t* taps) const {
    for (size_t c = 0; c < value.size(); ++c) y[c] = value[c] ^ flip[c];
    if (taps != nullptr) std::copy(tap.begin(), tap.end(), taps);
  }

  std::vector<int32_t> value;
  std::vector<uint8_t> tap;
};

void pool_row(const StridedAxis& hs, const StridedAxis& ws, int64_t row, const int32_t* x,
              const int32_t* flip, Best& best, int32_t* y, uint8_t* taps) {
  const int64_t channels = static_cast<int64_t>(best.value.size()), oh = row % hs.out;
  const int64_t image = row / hs.out * hs.in;
  for (int64_t ow = 0; ow < ws.out; ++ow) {
    best.start();
    bool first = true;
    for (int64_t h = hs.begin(oh); h < hs.end(oh); ++h) {
      for (int64_t w = ws.begin(ow); w < ws.end(ow); ++w) {
        const int64_t tap = (h - oh * hs.stride + hs.pad) * ws.kernel + w - ow * ws.stride + ws.pad;
        best.take(x + ((image + h) * ws.in + w) * channels, flip, static_cast<uint8_t>(tap), first);
        first = false;
      }
    }
    const int64_t to = (row * ws.out + ow) * channels;
    best.store(flip, y + to, taps == nullptr ? nullptr : taps + to);
  }
}

}  // namespace

void max_pool2d_accumulators(const Tensor& acc, const std::vector<char>& falling,
                             const Pool2dOptions& options, Tensor& y, Tensor* taps) {
  const char* op = "max_pool2d";
  check_pool(op, acc, options, y);
  check_dtype(op, "accumulators", acc, DType::kInt32);
  if (static_cast<int64_t>(falling.size()) != acc.dim(3)) {
    throw HALFTONE_ERROR(op)
        .expected("a mark for each of " + std::to_string(acc.dim(3)) + " channels")
        .found(std::to_string(falling.size()));
  }
  if (taps != nullptr) check_taps(op, options, y, *taps);
  HALFTONE_ON_DEVICE(max_pool2d_accumulators, acc, acc, falling, options, y, taps);
  const StridedAxis hs = height_axis(acc.shape(), y.shape(), options);
  const StridedAxis ws = width_axis(acc.shape(), y.shape(), options);
  std::vector<int32_t> flip(acc.dim(3));
  for (size_t c = 0; c < flip.size(); ++c) flip[c] = falling[c] ? -1 : 0;
  parallel_for(acc.context(), acc.dim(0) * hs.out, 1, [&](int64_t begin, int64_t end) {
    Best best(acc.dim(3));
    for (int64_t row = begin; row < end; ++row) {
      pool_row(hs, ws, row, acc.data<int32_t>(), flip.data(), best, y.data<int32_t>(),
               taps == nullptr ? nullptr : taps->data<uint8_t>());
    }
  });
}

}  // namespace halftone::kernels
