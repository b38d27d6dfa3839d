#include "kernels/augment.h"
#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

void gather_sample(const ImageSet& set, int64_t sample, const AugmentOptions& o, uint64_t epoch,
                   float* to) {
  const SampleDraw draw =
      draw_shift_and_flip(o.pad, o.flip, o.seed, epoch, static_cast<uint64_t>(sample));
  const int64_t height = set.images.dim(1), width = set.images.dim(2), channels = set.images.dim(3);
  const uint8_t* image = set.images.data<uint8_t>() + sample * height * width * channels;
  const float* table = set.table.data<float>();
  for (int64_t h = 0; h < height; ++h) {
    for (int64_t w = 0; w < width; ++w) {
      const int64_t y = h + draw.shift_y, x = (draw.flip ? width - 1 - w : w) + draw.shift_x;
      const bool inside = y >= 0 && y < height && x >= 0 && x < width;
      for (int64_t c = 0; c < channels; ++c) {
        *to++ = table[256 * c + (inside ? image[(y * width + x) * channels + c] : 0)];
      }
    }
  }
}

}  // namespace

void gather_batch(const ImageSet& set, const Tensor& draws, const AugmentOptions& options,
                  Tensor& x, Tensor& y) {
  const char* op = "gather_batch";
  check_dtype(op, "images", set.images, DType::kUInt8);
  check_rank(op, "images", set.images, 4);
  check_dtype(op, "samples and epoch", draws, DType::kInt64);
  const int64_t batch = draws.numel() - 1, channels = set.images.dim(3);
  check_shape(op, "batch", x, {batch, set.images.dim(1), set.images.dim(2), channels});
  check_shape(op, "labels", y, {batch});
  check_shape(op, "table", set.table, {channels, 256});
  HALFTONE_ON_DEVICE(gather_batch, x, set, draws, options, x, y);
  const int64_t* chosen = draws.data<int64_t>();
  const auto epoch = static_cast<uint64_t>(chosen[batch]);
  float* rows = x.data<float>();
  int64_t* labels = y.data<int64_t>();
  const int64_t size = batch == 0 ? 0 : x.numel() / batch;
  parallel_for(x.context(), batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      gather_sample(set, chosen[i], options, epoch, rows + i * size);
      labels[i] = set.labels.data<int64_t>()[chosen[i]];
    }
  });
}

}  // namespace halftone::kernels
