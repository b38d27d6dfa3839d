// augment.h on a device.
#include "kernels/augment.h"
#include "kernels/augment_cuda.h"
#include "kernels/device_call.h"

namespace halftone::kernels {
namespace {

void gather_body(const ImageSet& set, const Tensor& draws, const AugmentOptions& options, Tensor& x,
                 Tensor& y) {
  const DevicePointers p(x);
  cuda::AugmentArgs args;
  args.batch = x.dim(0), args.height = x.dim(1), args.width = x.dim(2), args.channels = x.dim(3);
  args.images = p.in<uint8_t>(set.images), args.labels = p.in<int64_t>(set.labels);
  args.samples = p.in<int64_t>(draws), args.table = p.in(set.table);
  args.pad = options.pad, args.flip = options.flip;
  args.seed = options.seed;
  args.x = p.out(x), args.batch_labels = p.out<int64_t>(y);
  cuda::augment(stream_of(x), args);
}

[[maybe_unused]] const bool registered = [] {
  device_body<& gather_batch> = gather_body;
  return true;
}();

}  // namespace
}  // namespace halftone::kernels
