// Passes that make float training faster and change no bit.
#pragma once

#include <utility>
#include <vector>

#include "nn/layers.h"

namespace halftone {

// The pairs that a pass joined. Holds plain pointers: it must not outlive the model.
class FusedLayers {
 public:
  size_t size() const { return pairs_.size() + sums_.size(); }
  // Every module computes for itself again.
  void unfuse();

 private:
  friend FusedLayers fuse_layers(Module& model, const Graph& graph);
  void fuse_activations(Module& model, const Graph& graph);
  void fuse_sums(Module& model, const Graph& graph);

  std::vector<std::pair<ActivationOptions*, ActivationLayer*>> pairs_;
  std::vector<std::pair<BatchNorm*, Add*>> sums_;
};

// A ReLU, ReLU6 or Hardtanh is computed by the batch norm or the sum whose only consumer it is,
// else by the max pooling that is its own only consumer, and the activation layer passes its input
// through: one pass over the values instead of two. Likewise a sum (and its activation) takes in a
// batch norm whose only consumer it is. Modules that run more than once, have an executor, or an
// output transform in between stay as they are. The graph must be of this model as it is now
// (trace()).
FusedLayers fuse_layers(Module& model, const Graph& graph);

}  // namespace halftone
