// All parameters, and all gradients, of a model in one flat buffer each.
#pragma once

#include <string>
#include <vector>

#include "nn/module.h"

namespace halftone {

// Moves every parameter of the model into one buffer (names and handles stay valid) and gives each
// a slice of one gradient buffer. Order: named_parameters(); each starts at a multiple of 16
// floats.
class ParameterStore {
 public:
  explicit ParameterStore(Module& model);
  struct Entry {
    std::string name;
    Variable variable;
    int64_t offset, numel;
  };
  // Appends parameters that the model has gained; the others keep their place and value. The flat
  // buffers are new ones then.
  void take_in(Module& model);
  const std::vector<Entry>& entries() const { return entries_; }
  Tensor& values() { return values_; }  // float32, flat
  Tensor& grads() { return grads_; }
  void zero_grad();  // O(parameters), no memory traffic

 private:
  void lay_out(const Context& context);
  std::vector<Entry> entries_;
  Tensor values_, grads_;
};

}  // namespace halftone
