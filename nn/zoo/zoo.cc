#include "nn/zoo/zoo.h"

#include <algorithm>

#include "nn/zoo/networks.h"
#include "tensor/nearest.h"

namespace halftone {
namespace {

void check_options(const ZooEntry& entry, const ModelOptions& options) {
  if (options.num_classes < 1) {
    throw HALFTONE_ERROR("model")
        .expected("num_classes of at least 1")
        .found(std::to_string(options.num_classes));
  }
  if (options.width && (!entry.has_width || !(*options.width > 0.0))) {
    throw HALFTONE_ERROR("model")
        .expected(entry.has_width ? "width > 0" : "no width: " + entry.name + " has one size")
        .found(std::to_string(*options.width));
  }
}

std::string chosen_variant(const ZooEntry& entry, const std::string& wish) {
  if (wish.empty()) return entry.variants.empty() ? "" : entry.variants[0];
  const auto& known = entry.variants;
  if (std::count(known.begin(), known.end(), wish) > 0) return wish;
  if (!known.empty()) throw_unknown_name("model", wish, known);
  throw HALFTONE_ERROR("model").expected("no variant: " + entry.name + " has one form").found(wish);
}

}  // namespace

const std::vector<ZooEntry>& zoo() {
  static const std::vector<ZooEntry> entries = {
      {"lenet5",
       "LeNet-5 (LeCun et al. 1998) with ReLU and max pooling",
       {1, 28, 28},
       {"batch_norm", "plain", "hardtanh"},
       false,
       make_lenet5},
      {"nni_mnist", "the network of NNI's MNIST examples", {1, 28, 28}, {}, false, make_nni_mnist},
      {"bnn_vgg",
       "VGG of 6 convolutions and 3 linear layers for binary networks (Hubara et al. 2016)",
       {3, 32, 32},
       {"nni", "pool_last"},
       false,
       make_bnn_vgg},
      {"vgg_small",
       "VGG of 6 convolutions and 1 linear layer (Zhang et al. 2018, LQ-Nets)",
       {3, 32, 32},
       {},
       false,
       make_vgg_small},
      {"resnet20",
       "ResNet-20 for CIFAR, option A (He et al. 2015)",
       {3, 32, 32},
       {},
       false,
       make_resnet20},
      {"mobilenet_v2",
       "MobileNetV2 (Sandler et al. 2018) for 32x32 images",
       {3, 32, 32},
       {},
       true,
       make_mobilenet_v2},
  };
  return entries;
}

std::vector<std::string> zoo_names() {
  std::vector<std::string> names;
  for (const ZooEntry& entry : zoo()) names.push_back(entry.name);
  return names;
}

const ZooEntry& zoo_entry(const std::string& name) {
  for (const ZooEntry& entry : zoo()) {
    if (entry.name == name) return entry;
  }
  throw_unknown_name("model", name, zoo_names());
}

Shape Model::batch_shape(int64_t batch) const {
  return {batch, input_shape[1], input_shape[2], input_shape[0]};
}

Model make_model(const std::string& name, const Context& context, const ModelOptions& options) {
  const ZooEntry& entry = zoo_entry(name);
  check_options(entry, options);
  ModelOptions complete = options;
  complete.variant = chosen_variant(entry, options.variant);
  Model model{entry.name, entry.build(context, complete), entry.input_shape};
  refresh_paths(*model.module);
  return model;
}

}  // namespace halftone
