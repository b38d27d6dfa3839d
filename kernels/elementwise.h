// Sums, copies and layouts.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace halftone::kernels {

void add(const Tensor& a, const Tensor& b, Tensor& y);  // float32, same shape
void accumulate(const Tensor& x, Tensor& y);            // y += x
void mul(const Tensor& a, const Tensor& b, Tensor& y);
void scale(const Tensor& x, float factor, Tensor& y);
void concat_channels(const std::vector<Tensor>& xs, Tensor& y);  // last axis; any dtype
void split_channels(const Tensor& dy, std::vector<Tensor>& dxs);
// (N, H, W, C) <-> (N, C, H, W); any dtype. Also OHWI <-> OIHW.
void nhwc_to_nchw(const Tensor& x, Tensor& y);
void nchw_to_nhwc(const Tensor& x, Tensor& y);
// ResNet option A: y (N, ceil(H / stride), ceil(W / stride), CY) takes every stride-th pixel; x's
// channels stand at [pad_before, pad_before + C), the others hold `fill` (for codes: the code of
// zero). Any dtype but bfloat16.
void subsample_pad(const Tensor& x, int stride, int pad_before, Tensor& y, int fill = 0);
void subsample_pad_backward(const Tensor& dy, int stride, int pad_before, Tensor& dx);
// y = x times factors[i] where i is the index along `axis`, the first or the last; on the CPU.
void scale_channels(const Tensor& x, int axis, const std::vector<float>& factors, Tensor& y);
// y = x times a scalar that lies where x does.
void scale_by(const Tensor& x, const Tensor& factor, Tensor& y);
double sum(const Tensor& x);  // float32, fixed chunks
bool all_finite(const Tensor& x);

}  // namespace halftone::kernels
