// A data set on a device, and its batches: gathered, moved and normalised there.
#pragma once

#include "data/loader.h"
#include "kernels/augment.h"

namespace halftone {

class DeviceSet {
 public:
  // Whether these batches can be made on a device: normalised, without Augmentation::edit, from a
  // set of at most 2 GiB, which is copied there.
  static bool takes(const Dataset& dataset, const LoaderOptions& options);

  DeviceSet(const Context& context, const Dataset& dataset, const LoaderOptions& options);
  // The loader's batch of these samples, value for value, once it is made.
  Batch batch(std::vector<int64_t> samples, int64_t epoch) const;

 private:
  const Context context_;
  kernels::ImageSet set_;
  kernels::AugmentOptions augment_;
};

}  // namespace halftone
