// A value, its gradient, and the node that produced it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tensor/codes.h"
#include "tensor/tensor.h"

namespace halftone {

struct Node;

// A cheap handle; copies share value and gradient. Leaves that require a gradient are parameters.
class Variable {
 public:
  Variable() = default;
  explicit Variable(Tensor value, bool requires_grad = false);
  // Quantized values: integer ops read codes(), any other op value().
  explicit Variable(Codes codes);

  bool defined() const { return impl_ != nullptr; }
  const Tensor& value() const;  // float view; dequantized on first use when this holds codes
  Tensor& mutable_value();      // leaves only (optimizers, loading)
  const Codes* codes() const;   // null when this holds no codes
  const Shape& shape() const;
  const Context& context() const;
  bool requires_grad() const;
  void set_requires_grad(bool on);

  // The accumulated gradient; undefined before the first backward and after zero_grad().
  Tensor grad() const;
  // Gradients of a leaf go to this buffer from now on (the flat store of a model).
  void set_grad_buffer(Tensor buffer);
  void zero_grad();  // O(1): the next backward overwrites
  // Computes the gradient of this (a scalar, or with an explicit upstream gradient) for every leaf
  // behind it. Frees the graph. Gradients accumulate over calls.
  void backward(Tensor upstream = Tensor());
  const std::shared_ptr<Node>& node() const;
  bool same(const Variable& other) const { return impl_ == other.impl_; }
  const void* id() const { return impl_.get(); }
  // Recognises this variable without keeping it: unlike id(), never another one at its address.
  std::weak_ptr<const void> watch() const { return impl_; }

 private:
  struct Impl;
  friend class GradSink;
  friend struct Engine;
  Impl& impl() const;  // throws when undefined
  std::shared_ptr<Impl> impl_;
};

// Where a backward closure puts the gradients of its inputs.
class GradSink {
 public:
  // Input i wants a gradient: skip the work where it does not.
  bool needs(size_t i) const;
  // The tensor to write input i's gradient to, overwriting it: the leaf's own buffer when nothing
  // has been accumulated there, a fresh tensor otherwise (the engine adds it). float32, shape of
  // input i.
  Tensor& out(size_t i);
  // What other consumers have sent to input i so far, for a kernel that adds to it in place of
  // overwriting out(i); null where there is nothing, or where somebody else can see it.
  Tensor* sum(size_t i);
  // Hands over a gradient that exists already (Identity, Add, reshape): it may be shared, nobody
  // writes it.
  void put(size_t i, Tensor gradient);

 private:
  friend struct Engine;
  struct Slot;
  std::vector<Slot>* slots_ = nullptr;
  const Tensor* upstream_ = nullptr;
  const Node* node_ = nullptr;
};

using BackwardFn = std::function<void(const Tensor& upstream, GradSink& sink)>;

// Where the gradient of one input goes: to the producing node, or to the leaf; empty when it wants
// none. Holds no intermediate value: an op keeps alive only what its closure saved.
struct GradEdge {
  std::shared_ptr<Node> producer;
  Variable leaf;
  Shape shape;
  bool wanted() const { return producer != nullptr || leaf.defined(); }
};

struct Node {
  Node() = default;
  ~Node();  // iterative: a graph of any depth may be dropped
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  std::string op;
  std::vector<GradEdge> inputs;
  BackwardFn backward;
  std::string module_path;  // at creation
  uint64_t sequence = 0;    // creation order: backward runs in descending order

  // The engine's: the gradient collected so far, the last pass that saw it, whether it has run.
  Tensor gradient;
  uint64_t visit = 0;
  bool freed = false;
};

// What an op says about itself: builds the node when gradients are on and some input requires one,
// and adds to the Graph when one is being recorded.
struct OpRecord {
  std::string op;  // ONNX-like snake case: "conv2d", "batch_norm", "relu", "add"
  std::vector<Variable> inputs;
  BackwardFn backward;  // may be empty: no gradient flows
};
Variable make_result(OpRecord record, Tensor value);
Variable make_result(OpRecord record, Codes codes);

// True when ops record nodes on this thread.
bool grad_enabled();
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool previous_;
};

}  // namespace halftone
