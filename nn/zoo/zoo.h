// Networks by name.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nn/module.h"

namespace halftone {

// What is not set takes the network's own default; an option that it does not have throws.
struct ModelOptions {
  int num_classes = 10;
  std::string variant;          // "" or one of ZooEntry::variants
  std::optional<double> width;  // factor on all channel counts (mobilenet_v2)
};

struct Model {
  std::string name;
  ModulePtr module;
  Shape input_shape;  // (C, H, W), without the batch
  Module* operator->() const { return module.get(); }
  // (batch, H, W, C): the shape of the tensor that the module takes.
  Shape batch_shape(int64_t batch) const;
};

struct ZooEntry {
  std::string name, description;
  Shape input_shape;                  // (C, H, W)
  std::vector<std::string> variants;  // the first one is the default
  bool has_width = false;
  std::function<ModulePtr(const Context& context, const ModelOptions& options)> build;
};

const std::vector<ZooEntry>& zoo();
std::vector<std::string> zoo_names();
// Throws on an unknown name, with the nearest.
const ZooEntry& zoo_entry(const std::string& name);

// Builds a network with its initial weights (from the context's random state) and its paths
// written. Throws on an unknown name or variant, naming the nearest.
Model make_model(const std::string& name, const Context& context, const ModelOptions& options = {});

}  // namespace halftone
