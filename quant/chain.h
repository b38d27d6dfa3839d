// A convolution or linear layer and what follows it, computed as one operation on integer codes.
#pragma once

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nn/layers.h"
#include "quant/dorefa_quantize.h"

namespace halftone {

class WeightBatch;

// What an activation leaves, as reals: everything without one.
struct ActivationBounds {
  float low = -INFINITY, high = INFINITY;
};
ActivationBounds bounds_of(const ActivationLayer* activation);

// Whether a module tree is still the one that its chains were found in.
class TreeWatch {
 public:
  explicit TreeWatch(Module& root);
  // Throws when any slot below the root has been set since.
  void check();

 private:
  Module* root_;
  std::weak_ptr<Module> owner_;  // empty for a root that no shared pointer owns
  bool owned_;
  uint64_t version_, seen_;
};

// conv / linear - [max pooling] - [batch norm] - [activation] - [output quantizer]. The modules
// keep their names and parameters; the anchor's executor computes everything, the others pass on
// what it made.
struct Chain : std::enable_shared_from_this<Chain> {
  WeightLayer* anchor = nullptr;    // owns this through its executor
  Conv2d* conv = nullptr;           // the anchor, where that is no Linear
  std::shared_ptr<MaxPool2d> pool;  // only before a norm
  std::shared_ptr<BatchNorm> norm;
  FoldMode fold = FoldMode::kScale;  // kNone: without a norm
  std::shared_ptr<ActivationLayer> activation;
  // Null where there is none, or none with an integer form; alive as long as the chain is.
  std::shared_ptr<FakeQuantize> input, weight, output;
  std::shared_ptr<DorefaGradient> gradient;  // of the sum of products; null where it stays as it is
  // Whose codes arrive: `input`, or the output quantizer before this chain; null where they do not
  // come from one known quantizer.
  std::shared_ptr<FakeQuantize> grid;
  std::shared_ptr<TreeWatch> tree;
  std::shared_ptr<WeightBatch> batch;  // of a device: with the weights of the other chains
  // Called before every run with its input, where set; on_codes: it is computed on them.
  std::function<void(const Variable& x, bool on_codes)> probe;
  // The result of the anchor's last fused call: what the other members recognise and pass on.
  std::weak_ptr<const void> produced;

  Module& tail() const;  // the last member
  // Whether weights are multiplied by gamma / sigma_run before they are quantized.
  bool quantizes_folded() const {
    return norm != nullptr && fold != FoldMode::kScale && fold != FoldMode::kNone;
  }
  const Variable& weights() const { return anchor->weight; }
  const Variable& bias() const { return anchor->bias; }
};
using ChainPtr = std::shared_ptr<Chain>;

// The chains of a traced model, one for each Conv2d and Linear that runs once, without quantizers.
// A member has one consumer, and a batch norm one producer. Activations that are no clamp end a
// chain before them, output transforms behind their module.
std::vector<ChainPtr> find_chains(Module& model, const Graph& graph);

// Without a graph: every Conv2d and Linear alone.
std::vector<ChainPtr> lone_chains(Module& model);

// Whether an operation moves codes and changes none.
bool passes_codes(const std::string& op);

// Whether a quantizer stands behind a module.
using IsQuantized = std::function<bool(const std::string& path)>;

// The modules at the ends of what consumes the tail's output, seen through operations that codes
// pass unchanged (max pooling, flatten, reshape) up to the first with a quantizer behind it. Null:
// something that is neither such an operation nor a Conv2d or Linear, or the network's output.
std::vector<Module*> consumers_of(Module& model, const Graph& graph, const Chain& chain,
                                  const IsQuantized& is_quantized);

// The quantizer whose codes reach a module that runs once; null where there is none.
std::shared_ptr<FakeQuantize> arriving_codes(Module& model, const Graph& graph,
                                             const std::string& path);

// Sets the executors of the members. They run as long as chain->tree says that the tree is the
// same, and throw after that.
void install(const ChainPtr& chain);

// Lets Dropout act on codes in training: kept values take the scale s / (1 - p), dropped ones the
// code of zero.
void install_code_dropout(Module& model);

}  // namespace halftone
