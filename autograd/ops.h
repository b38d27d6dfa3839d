// Differentiable operations. Images NHWC; formulas and defaults are PyTorch's.
// max_pool2d, flatten, reshape, pad, subsample_pad and concat keep codes where theirs do; others
// see dequantized values. The gradient of codes is with respect to the dequantized value.
#pragma once

#include <vector>

#include "autograd/variable.h"
#include "kernels/activation.h"
#include "kernels/conv.h"
#include "kernels/pool.h"

namespace halftone {

// x (N, H, W, C), w (O, kh, kw, C/groups), bias (O) or undefined.
Variable conv2d(const Variable& x, const Variable& w, const Variable& bias,
                const Conv2dOptions& options, ConvAlgorithm algorithm = ConvAlgorithm::kDirect);
// x (N, in), w (out, in), bias (out) or undefined.
Variable linear(const Variable& x, const Variable& w, const Variable& bias);

struct BatchNormOptions {
  float eps = 1e-5f;
  float momentum = 0.1f;
  bool training = true;
  bool normalise_with_running = false;  // in training too, once the batch's have moved them
  ActivationOptions act;                // fused behind it
  // And the sign of that, whose gradient is taken for that of the identity: act bounds it to
  // [-1, 1]. Without an addend.
  bool sign = false;
  bool uses_batch() const { return training && !normalise_with_running; }
};
// x (N, ..., C); weight, bias (C) or undefined. Training: batch statistics, and the running ones
// are updated in place. An addend of x's shape is added before the activation.
Variable batch_norm(const Variable& x, const Variable& weight, const Variable& bias,
                    Tensor& running_mean, Tensor& running_var, const BatchNormOptions& options,
                    const Variable& addend = Variable());

Variable activation(const Variable& x, const ActivationOptions& options);
Variable relu(const Variable& x);
Variable max_pool2d(const Variable& x, const Pool2dOptions& options);
Variable avg_pool2d(const Variable& x, const Pool2dOptions& options);
Variable adaptive_avg_pool2d(const Variable& x, int out_h, int out_w);
// Takes a stream from the context's random state; x itself in evaluation.
Variable dropout(const Variable& x, float p, bool training);
// (N, H, W, C) -> (N, C*H*W) in PyTorch's order; rank 2 passes through.
Variable flatten(const Variable& x);
Variable reshape(const Variable& x, const Shape& shape);
Variable add(const Variable& a, const Variable& b, const ActivationOptions& act = {});  // fused
Variable mul(const Variable& a, const Variable& b);
Variable scale(const Variable& x, float factor);
Variable sum(const Variable& x);                   // scalar
Variable mean(const Variable& x);                  // scalar
Variable concat(const std::vector<Variable>& xs);  // channels
// (N, H, W, C) in a frame of `value`; on codes `value` must be one that they can hold exactly.
Variable pad(const Variable& x, int pad_h, int pad_w, float value);
// ResNet option A: every stride-th pixel, zero channels before and after.
Variable subsample_pad(const Variable& x, int stride, int pad_before, int pad_after);
Variable softmax(const Variable& x);
Variable log_softmax(const Variable& x);

// Scalars, means over the batch. labels int64 (N).
Variable cross_entropy(const Variable& logits, const Tensor& labels, float label_smoothing = 0.0f);
Variable nll_loss(const Variable& log_probabilities, const Tensor& labels);
Variable mse_loss(const Variable& x, const Tensor& target);
Variable squared_hinge_loss(const Variable& x, const Tensor& labels);

}  // namespace halftone
