// A kernel on the CPU and on the device under test.
#pragma once

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "tensor/tensor.h"

namespace halftone::test {

inline Context device_context() {
  ContextOptions options;
  options.device = {DeviceType::kCuda, 0};
  options.threads = 1;
  return Context(options);
}

// Runs a kernel twice, on tensors of the CPU and on the same on the device.
class Both {
 public:
  Tensor in(const Shape& shape, uint64_t stream) {
    const Philox random{3, stream};
    std::vector<float> values(shape.numel());
    for (size_t i = 0; i < values.size(); ++i) values[i] = random.normal(i);
    return Tensor::from(home_, shape, values);
  }
  Tensor there(const Tensor& t) const { return t.to(device_); }
  Tensor out(const Shape& shape, DType type = DType::kFloat32) const {
    return Tensor::full(home_, shape, 0.0f).to(type);
  }
  const Context& home() const { return home_; }
  const Context& device() const { return device_; }

  // kernel(tensors...) writes the last of them; the two results are equal, or within `near` (sums
  // in another order, exp of another library).
  template <class Kernel>
  void check(const Kernel& kernel, std::vector<Tensor> tensors, float near = 0.0f) const {
    std::vector<Tensor> moved;
    for (const Tensor& t : tensors) moved.push_back(there(t));
    kernel(tensors);
    kernel(moved);
    for (size_t k = 0; k < tensors.size(); ++k) {
      INFO("tensor " << k);
      const auto want = tensors[k].to(DType::kFloat32).to_vector<float>();
      const auto got = moved[k].to(home_).to(DType::kFloat32).to_vector<float>();
      for (size_t i = 0; i < want.size(); ++i) {
        REQUIRE(std::fabs(got[i] - want[i]) <= near);
      }
    }
  }

 private:
  Context device_ = device_context();
  Context home_ = device_.host();
};

}  // namespace halftone::test
