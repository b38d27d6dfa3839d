// 2-d convolution. x (N, H, W, C), w (O, kh, kw, C/groups), y (N, OH, OW, O).
#pragma once

#include "tensor/tensor.h"

namespace halftone {

struct Conv2dOptions {
  int stride_h = 1, stride_w = 1;
  int pad_h = 0, pad_w = 0;
  int dilation_h = 1, dilation_w = 1;
  int groups = 1;
};

enum class ConvAlgorithm {
  kDirect,  // sums of products: exact on integer-valued operands while they stay below 2^24
  kAuto,    // the fastest, Winograd's among them: within 1e-5 of the largest magnitude
};

// Shape of y; throws on mismatched channels, groups, or a kernel larger than the padded input.
Shape conv2d_shape(const Shape& x, const Shape& w, const Conv2dOptions& options);

namespace kernels {
// float32. `bias` (O) may be null.
void conv2d(const Tensor& x, const Tensor& w, const Tensor* bias, const Conv2dOptions& options,
            Tensor& y, ConvAlgorithm algorithm = ConvAlgorithm::kDirect);
// Gradients are by the fastest algorithm.
void conv2d_backward_data(const Tensor& dy, const Tensor& w, const Conv2dOptions& options,
                          Tensor& dx);
// dx += the data gradient, bit for bit as if added afterwards.
void conv2d_add_backward_data(const Tensor& dy, const Tensor& w, const Conv2dOptions& options,
                              Tensor& dx);
// `dbias` (O) may be null.
void conv2d_backward_weight(const Tensor& x, const Tensor& dy, const Conv2dOptions& options,
                            Tensor& dw, Tensor* dbias);

namespace reference {  // plain loops, double accumulators: the oracle
void conv2d(const Tensor& x, const Tensor& w, const Tensor* bias, const Conv2dOptions& options,
            Tensor& y);
void conv2d_backward_data(const Tensor& dy, const Tensor& w, const Conv2dOptions& options,
                          Tensor& dx);
void conv2d_backward_weight(const Tensor& x, const Tensor& dy, const Conv2dOptions& options,
                            Tensor& dw, Tensor* dbias);
}  // namespace reference
}  // namespace kernels
}  // namespace halftone
