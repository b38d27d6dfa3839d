#include "test/nn/torch_numbers.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <limits>

#include "kernels/elementwise.h"

namespace halftone::test {

TorchNumbers::TorchNumbers(const Context& context, const std::string& file)
    : file_(load_safetensors(context, "test/nn/torch_numbers/" + file + ".safetensors")) {}

const Tensor& TorchNumbers::at(const std::string& key) const {
  const auto found = file_.tensors.find(key);
  if (found == file_.tensors.end()) FAIL("no PyTorch number " << key);
  return found->second;
}

std::map<std::string, Tensor> TorchNumbers::under(const std::string& prefix) const {
  std::map<std::string, Tensor> result;
  for (const auto& [name, tensor] : file_.tensors) {
    if (name.rfind(prefix, 0) == 0) result[name.substr(prefix.size())] = tensor;
  }
  return result;
}

Tensor TorchNumbers::nhwc(const std::string& key) const {
  const Tensor& t = at(key);
  if (t.rank() != 4) return t;
  Tensor result = Tensor::empty(t.context(), {t.dim(0), t.dim(2), t.dim(3), t.dim(1)});
  kernels::nchw_to_nhwc(t, result);
  return result;
}

Tensor to_torch(const Tensor& t) {
  if (t.rank() != 4) return t;
  Tensor result = Tensor::empty(t.context(), {t.dim(0), t.dim(3), t.dim(1), t.dim(2)});
  kernels::nhwc_to_nchw(t, result);
  return result;
}

double relative_error(const Tensor& found, const Tensor& wanted) {
  if (found.shape() != wanted.shape()) return std::numeric_limits<double>::infinity();
  const Tensor found_floats = found.to(DType::kFloat32), wanted_floats = wanted.to(DType::kFloat32);
  const float* a = found_floats.data<float>();
  const float* b = wanted_floats.data<float>();
  double error = 0.0, magnitude = 1e-6;
  for (int64_t i = 0; i < found.numel(); ++i) {
    const double difference = std::fabs(static_cast<double>(a[i]) - b[i]);
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    error = std::max(error, difference);
    magnitude = std::max(magnitude, std::fabs(static_cast<double>(b[i])));
  }
  return error / magnitude;
}

void ErrorMeter::check(const std::string& name, const Tensor& found, const Tensor& wanted) {
  INFO(name << ": " << found.shape().str() << ", PyTorch " << wanted.shape().str());
  const double error = relative_error(found, wanted);
  CHECK(error <= kTolerance);
  if (!(error <= largest)) {
    largest = error;
    where = name;
  }
}

ErrorMeter::~ErrorMeter() {
  std::printf("largest error against PyTorch: %.2g of the largest magnitude (%s)\n", largest,
              where.c_str());
}

}  // namespace halftone::test
