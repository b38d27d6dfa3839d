// A labelled image set, held in memory as bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace halftone {

enum class Split : uint8_t { kTrain, kTest };
std::string name_of(Split split);  // "train", "test"

struct Dataset {
  std::string name;
  Split split = Split::kTrain;
  Tensor images;                     // uint8 (N, H, W, C)
  std::vector<int64_t> labels;       // N, each in [0, classes.size())
  std::vector<std::string> classes;  // name of each label
  // Per channel, of values in 0..1, over the training split (also in the test split).
  std::vector<float> mean, stddev;

  int64_t size() const { return static_cast<int64_t>(labels.size()); }
  int64_t height() const { return images.dim(1); }
  int64_t width() const { return images.dim(2); }
  int64_t channels() const { return images.dim(3); }
  int64_t num_classes() const { return static_cast<int64_t>(classes.size()); }
};

// Which of these a set takes depends on the set; one that it does not take is an Error.
struct DatasetOptions {
  std::string data_dir;  // where the files lie; "": see data_folders in file_bytes.h
  // How many samples to keep, 0: all. Files of a set: the first ones. image-folder, which is sorted
  // by class: sample floor(i * N / limit) of N for each i below limit. Generated: how many to make.
  int64_t limit = 0;
  uint64_t seed = 0;           // generated sets only
  bool coarse_labels = false;  // cifar100: the 20 super-classes
  int64_t resize = 0;          // image-folder: length of the shorter side; 0: as it is
  int64_t crop = 0;            // image-folder: side of the centre square; 0: none
};

// Names that load_dataset knows: mnist, fashion-mnist, cifar10, ...
std::vector<std::string> dataset_names();
// One line about a set, for `halftone list datasets`.
std::string dataset_summary(const std::string& name);
// Whether a set takes a member of DatasetOptions, named as there; data_dir: all that need files.
bool dataset_takes(const std::string& name, const std::string& option);

Dataset load_dataset(const Context& context, const std::string& name, Split split,
                     const DatasetOptions& options = {});

// Throws unless images, labels, classes, mean and stddev fit together.
void check_dataset(const Dataset& dataset);

// The first `count` samples (sharing memory); the set itself when count is 0 or not smaller.
Dataset first_samples(Dataset dataset, int64_t count);

}  // namespace halftone
