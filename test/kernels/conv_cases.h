// Shapes and operands for the tests of convolutions and matrix products.
#pragma once

#include <string>
#include <vector>

#include "kernels/conv.h"
#include "kernels/parallel.h"

namespace halftone::test {

struct ConvCase {
  int64_t n, h, w, c, o, kh, kw;
  Conv2dOptions options;

  Shape x() const { return {n, h, w, c}; }
  Shape weight() const { return {o, kh, kw, c / options.groups}; }
  Shape y() const { return conv2d_shape(x(), weight(), options); }
  std::string str() const {
    return x().str() + " * " + weight().str() + " stride " + std::to_string(options.stride_h) +
           "," + std::to_string(options.stride_w) + " pad " + std::to_string(options.pad_h) + "," +
           std::to_string(options.pad_w) + " dilation " + std::to_string(options.dilation_h) +
           " groups " + std::to_string(options.groups);
  }
};

// Options: stride, padding, dilation (height, width), groups.
inline std::vector<ConvCase> conv_cases() {
  return {
      {2, 28, 28, 1, 6, 5, 5, {1, 1, 2, 2, 1, 1, 1}},   // LeNet-5, first
      {3, 14, 14, 6, 16, 5, 5, {}},                     // LeNet-5, second
      {2, 32, 32, 3, 16, 3, 3, {1, 1, 1, 1, 1, 1, 1}},  // ResNet-20, first
      {1, 16, 16, 16, 16, 3, 3, {1, 1, 1, 1, 1, 1, 1}},
      {2, 16, 16, 16, 32, 3, 3, {2, 2, 1, 1, 1, 1, 1}},
      {3, 8, 8, 64, 64, 3, 3, {1, 1, 1, 1, 1, 1, 1}},
      {2, 8, 8, 128, 128, 3, 3, {1, 1, 1, 1, 1, 1, 1}},  // BNN VGG
      {1, 7, 9, 5, 17, 3, 3, {1, 1, 1, 1, 1, 1, 1}},     // nothing is a multiple of 8
      {5, 9, 7, 17, 5, 3, 2, {2, 1, 1, 0, 1, 1, 1}},     // unequal per axis
      {2, 11, 13, 3, 6, 3, 5, {3, 2, 2, 1, 1, 1, 1}},
      {2, 12, 12, 6, 8, 3, 3, {1, 1, 2, 2, 2, 2, 1}},  // dilated
      {2, 13, 11, 16, 16, 3, 3, {2, 2, 2, 2, 2, 1, 1}},
      {4, 6, 6, 16, 32, 1, 1, {}},  // pointwise
      {3, 7, 7, 17, 6, 1, 1, {2, 2, 0, 0, 1, 1, 1}},
      {2, 10, 10, 16, 16, 3, 3, {1, 1, 1, 1, 1, 1, 16}},  // depthwise
      {2, 9, 9, 6, 6, 3, 3, {2, 2, 1, 1, 1, 1, 6}},
      {2, 8, 8, 12, 18, 3, 3, {1, 1, 1, 1, 1, 1, 3}},   // groups
      {1, 5, 5, 1, 1, 5, 5, {}},                        // one output
      {1, 3, 3, 2, 3, 3, 3, {1, 1, 4, 4, 1, 1, 1}},     // windows in the padding alone
      {1, 4, 6, 3, 40, 2, 2, {2, 2, 0, 0, 1, 1, 1}},    // kernel = stride
      {19, 5, 5, 3, 7, 3, 3, {1, 1, 1, 1, 1, 1, 1}},    // more images than reduction chunks
      {2, 9, 37, 16, 32, 5, 5, {1, 1, 2, 2, 1, 1, 1}},  // outputs as wide as the image, rows of
      {3, 4, 1, 16, 20, 3, 3, {1, 1, 1, 1, 1, 1, 1}},   // several tiles; narrower than the kernel
      {2, 3, 2, 17, 16, 5, 5, {1, 1, 2, 2, 1, 1, 1}},
      {2, 9, 8, 16, 20, 3, 3, {2, 1, 1, 1, 1, 1, 1}},  // stride down only
  };
}

inline Context context_with(int threads) {
  ContextOptions options;
  options.threads = threads;
  return Context(options);
}

// Normal values, or integers in [-8, 8]: a sum of 10^4 products of them stays below 2^24, so
// every order of summation is exact.
inline Tensor random_values(const Context& context, const Shape& shape, uint64_t stream,
                            bool integers) {
  const Philox random{7, stream};
  std::vector<float> values(shape.numel());
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = integers ? static_cast<float>(random.below(i, 17)) - 8.0f : random.normal(i);
  }
  return Tensor::from(context, shape, values);
}

// Results start as NaN, so that an element nobody writes is seen.
inline Tensor unwritten(const Context& context, const Shape& shape) {
  return Tensor::full(context, shape, std::numeric_limits<float>::quiet_NaN());
}

// Largest |a - b| over the largest |b|; infinity where a is NaN.
inline double relative_error(const Tensor& a, const Tensor& b) {
  double error = 0.0, scale = 1e-30;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double x = a.data<float>()[i], y = b.data<float>()[i];
    if (!(x == x)) return std::numeric_limits<double>::infinity();
    error = std::max(error, std::abs(x - y));
    scale = std::max(scale, std::abs(y));
  }
  return error / scale;
}

inline bool same_values(const Tensor& a, const Tensor& b) {
  return a.to_vector<float>() == b.to_vector<float>();
}

}  // namespace halftone::test
