// Pooling over (N, H, W, C).
#pragma once

#include <vector>

#include "kernels/activation.h"

namespace halftone {

struct Pool2dOptions {
  int kernel_h = 2, kernel_w = 2;
  int stride_h = 2, stride_w = 2;
  int pad_h = 0, pad_w = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;  // average only
  ActivationOptions act = {};     // maximum only: ReLU, ReLU6 or Hardtanh, computed on its inputs
};

Shape pool2d_shape(const Shape& x, const Pool2dOptions& options);

namespace kernels {
// float32 or uint8 (codes). First maximum wins, as in PyTorch. NaN propagates.
void max_pool2d(const Tensor& x, const Pool2dOptions& options, Tensor& y);
// Also writes, per output, the tap (kh * kernel_w + kw) that won, as uint8: windows of at most 256
// pixels.
void max_pool2d_with_taps(const Tensor& x, const Pool2dOptions& options, Tensor& y, Tensor& taps);
// int32 accumulators of a convolution whose values they are times a factor per channel. Channels
// that `falling` marks (a negative factor) take the minimum. The first extreme wins. taps may be
// null.
void max_pool2d_accumulators(const Tensor& acc, const std::vector<char>& falling,
                             const Pool2dOptions& options, Tensor& y, Tensor* taps);
// sums (int32) = the sums of code - zero_point over windows of uint8 codes; what lies outside is
// zero.
void sum_code_windows(const Tensor& codes, int32_t zero_point, const Pool2dOptions& options,
                      Tensor& sums);
// y, the forward's result, is read only where the options have an activation.
void max_pool2d_backward(const Tensor& dy, const Tensor& y, const Tensor& taps,
                         const Pool2dOptions& options, Tensor& dx);
void avg_pool2d(const Tensor& x, const Pool2dOptions& options, Tensor& y);
void avg_pool2d_backward(const Tensor& dy, const Pool2dOptions& options, Tensor& dx);
// PyTorch's adaptive average pooling: y (N, OH, OW, C), window i = [floor(i H / OH), ceil((i + 1) H
// / OH)).
void adaptive_avg_pool2d(const Tensor& x, Tensor& y);
void adaptive_avg_pool2d_backward(const Tensor& dy, Tensor& dx);
}  // namespace kernels
}  // namespace halftone
