// Softmax and losses, float32 logits (N, C).
#pragma once

#include "tensor/tensor.h"

namespace halftone::kernels {

void softmax(const Tensor& x, Tensor& y);  // last axis
void log_softmax(const Tensor& x, Tensor& y);
void softmax_backward(const Tensor& dy, const Tensor& y, Tensor& dx);
void log_softmax_backward(const Tensor& dy, const Tensor& y, Tensor& dx);

// Mean over the batch of -log softmax(x)[label], labels int64 (N) in [0, C) (checked), with label
// smoothing; dx gets the gradient for an upstream gradient of 1.
float cross_entropy(const Tensor& x, const Tensor& labels, float label_smoothing, Tensor& dx);
float nll(const Tensor& log_probabilities, const Tensor& labels, Tensor& dx);
float mse(const Tensor& x, const Tensor& target, Tensor& dx);  // mean over elements
// Mean over elements of max(0, 1 - t x)^2 with t = +1 for the label and -1 elsewhere (BNN's
// L2-SVM).
float squared_hinge(const Tensor& x, const Tensor& labels, Tensor& dx);
// Rows whose largest entry (lowest index on ties) is the label.
int64_t count_correct(const Tensor& x, const Tensor& labels);

// The same of devices without waiting for them: a float32 scalar, NaN where a label is none, and an
// int64 one.
enum class LabelledLoss : uint8_t { kCrossEntropy, kNll, kSquaredHinge };
Tensor loss_on_device(LabelledLoss kind, const Tensor& x, const Tensor& labels,
                      float label_smoothing, Tensor& dx);
void count_correct_on_device(const Tensor& x, const Tensor& labels, Tensor& correct);

}  // namespace halftone::kernels
