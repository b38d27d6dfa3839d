// What PyTorch computed (make_torch_numbers.py), and how results are compared with it.
#pragma once

#include <string>
#include <vector>

#include "nn/module.h"
#include "tensor/safetensors.h"

namespace halftone::test {

// One file of torch_numbers/, in PyTorch's layouts.
class TorchNumbers {
 public:
  TorchNumbers(const Context& context, const std::string& file);
  bool has(const std::string& key) const { return file_.tensors.count(key) > 0; }
  const Tensor& at(const std::string& key) const;
  // Tensors under a prefix, by the rest of their names.
  std::map<std::string, Tensor> under(const std::string& prefix) const;
  // Images as (N, H, W, C), everything else as it is.
  Tensor nhwc(const std::string& key) const;

 private:
  TensorFile file_;
};

// OHWI or NHWC -> what PyTorch holds; other ranks as they are.
Tensor to_torch(const Tensor& t);

// Largest difference over the largest magnitude of `wanted` (over 1e-6 where that is smaller:
// gradients that are 0 but for rounding). Infinity when shapes differ, or
// for a NaN.
double relative_error(const Tensor& found, const Tensor& wanted);

// The largest error of everything checked so far, for the one line that states it.
struct ErrorMeter {
  double largest = 0.0;
  std::string where;
  void check(const std::string& name, const Tensor& found, const Tensor& wanted);
  ~ErrorMeter();
};

// The claim of every test here: at most 1e-5 of the largest magnitude.
constexpr double kTolerance = 1e-5;

}  // namespace halftone::test
