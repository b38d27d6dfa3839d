#include "data/dataset.h"

namespace halftone {

std::string name_of(Split split) { return split == Split::kTrain ? "train" : "test"; }

void check_dataset(const Dataset& set) {
  const auto fail = [&](const std::string& expected, const std::string& found) {
    throw HALFTONE_ERROR("check data set").at(set.name).expected(expected).found(found);
  };
  if (!set.images || set.images.rank() != 4 || set.images.dtype() != DType::kUInt8) {
    fail("uint8 images (N, H, W, C)",
         set.images ? name_of(set.images.dtype()) + " " + set.images.shape().str() : "none");
  }
  if (set.size() == 0 || set.images.dim(0) != set.size()) {
    fail("one label per image, and at least one image",
         std::to_string(set.images.dim(0)) + " images, " + std::to_string(set.size()) + " labels");
  }
  const size_t channels = static_cast<size_t>(set.channels());
  if (set.mean.size() != channels || set.stddev.size() != channels) {
    fail("a mean and a standard deviation for each of " + std::to_string(channels) + " channels",
         std::to_string(set.mean.size()) + " and " + std::to_string(set.stddev.size()));
  }
  for (int64_t i = 0; i < set.size(); ++i) {
    const int64_t label = set.labels[static_cast<size_t>(i)];
    if (label < 0 || label >= set.num_classes()) {
      fail("labels in [0, " + std::to_string(set.num_classes()) + ")",
           std::to_string(label) + " at sample " + std::to_string(i));
    }
  }
}

Dataset first_samples(Dataset set, int64_t count) {
  if (count <= 0 || count >= set.size()) return set;
  set.images = set.images.slice(0, count);
  set.labels.resize(static_cast<size_t>(count));
  return set;
}

}  // namespace halftone
