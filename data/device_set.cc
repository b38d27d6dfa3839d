#include "data/device_set.h"

namespace halftone {
namespace {

constexpr size_t kLargest = size_t{2} << 30;

}  // namespace

bool DeviceSet::takes(const Dataset& dataset, const LoaderOptions& options) {
  return options.dtype == DType::kFloat32 && !options.augmentation.edit &&
         dataset.images.nbytes() <= kLargest;
}

DeviceSet::DeviceSet(const Context& context, const Dataset& dataset, const LoaderOptions& options)
    : context_(context) {
  set_.images = dataset.images.to(context);
  const std::vector<int64_t> labels(dataset.labels.begin(), dataset.labels.end());
  set_.labels = Tensor::from(context, Shape{dataset.size()}, labels);
  set_.table = Tensor::from(context, Shape{dataset.channels(), 256}, normalisation_table(dataset));
  augment_.pad = options.augmentation.pad, augment_.flip = options.augmentation.flip;
  augment_.seed = options.seed;
}

Batch DeviceSet::batch(std::vector<int64_t> samples, int64_t epoch) const {
  const int64_t count = static_cast<int64_t>(samples.size());
  const Shape& s = set_.images.shape();
  Batch out;
  out.images = Tensor::empty(context_, {count, s[1], s[2], s[3]});
  out.labels = Tensor::empty(context_, {count}, DType::kInt64);
  samples.push_back(epoch);
  out.draws = Tensor::from(context_.host(), Shape{count + 1}, samples);
  out.gather = [this](const Tensor& draws, Tensor& images, Tensor& labels) {
    kernels::gather_batch(set_, draws, augment_, images, labels);
  };
  return out;
}

}  // namespace halftone
