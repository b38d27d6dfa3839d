// A convolution or linear layer and what follows it, computed as one operation on integer codes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/layers.h"
#include "quant/fake_quantize.h"

namespace halftone {

// conv / linear - [batch norm] - [activation] - [output quantizer]. The modules keep their names
// and parameters; the anchor's executor computes everything, the others pass on what it made.
struct Chain {
  Module* anchor = nullptr;
  Conv2d* conv = nullptr;  // one of these two is the anchor
  Linear* linear = nullptr;
  BatchNorm* norm = nullptr;
  ActivationLayer* activation = nullptr;
  // Null where there is none, or none with an integer form; alive as long as the chain is.
  std::shared_ptr<FakeQuantize> input, weight, output;
  // The result of the anchor's last fused call: what the other members recognise and pass on.
  const void* produced = nullptr;

  Module& tail() const;  // the last member
  const Variable& weights() const { return conv != nullptr ? conv->weight : linear->weight; }
  const Variable& bias() const { return conv != nullptr ? conv->bias : linear->bias; }
};
using ChainPtr = std::shared_ptr<Chain>;

// The chains of a traced model, one for each Conv2d and Linear that runs once, without quantizers.
// A member has one consumer, and a batch norm one producer. Activations that are no clamp end a
// chain before them. fold: whether batch norms join.
std::vector<ChainPtr> find_chains(Module& model, const Graph& graph, bool fold);

// Without a graph: every Conv2d and Linear alone.
std::vector<ChainPtr> lone_chains(Module& model);

// The (module, value) at the ends of what consumes the tail's output, seen through operations that
// codes pass unchanged (max pooling, flatten, reshape). A null module: something that is no Conv2d
// or Linear, or the network's output.
std::vector<Module*> consumers_of(Module& model, const Graph& graph, const Chain& chain);

// Sets the executors of the members.
void install(const ChainPtr& chain);
void uninstall(const Chain& chain);

// Lets Dropout act on codes in training: kept values take the scale s / (1 - p), dropped ones the
// code of zero.
void install_code_dropout(Module& model);

}  // namespace halftone
