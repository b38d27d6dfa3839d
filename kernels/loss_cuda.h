// Softmax and losses on a CUDA device (loss.h). Rows of logits (rows, classes), float32; labels
// int64. One thread takes a row, in the CPU's order of operations.
#pragma once

#include "kernels/cuda/stream.h"
#include "tensor/dtype.h"

namespace halftone::kernels::cuda {

struct SoftmaxArgs {
  int64_t rows = 0, classes = 0;
  bool log = false;
  const float* x = nullptr;
  float* y = nullptr;
};
void softmax(Stream& stream, const SoftmaxArgs& args);

struct SoftmaxBackwardArgs {
  int64_t rows = 0, classes = 0;
  bool log = false;
  const float* dy = nullptr;
  const float* y = nullptr;  // the forward's result
  float* dx = nullptr;
};
void softmax_backward(Stream& stream, const SoftmaxBackwardArgs& args);

enum class LossKind : uint8_t { kCrossEntropy, kNll, kSquaredHinge };

// What a loss leaves on the device. Labels outside [0, classes) are counted, and make the loss NaN.
struct LossResult {
  float loss = 0.0f;
  int32_t bad_labels = 0;
};

struct LossArgs {
  LossKind kind = LossKind::kCrossEntropy;
  int64_t rows = 0, classes = 0;
  float label_smoothing = 0.0f;  // cross entropy
  const float* x = nullptr;
  const int64_t* labels = nullptr;
  float* dx = nullptr;  // for an upstream gradient of 1
  LossResult* result = nullptr;
};
void loss(Stream& stream, const LossArgs& args);

struct MseArgs {
  int64_t numel = 0;
  const float* x = nullptr;
  const float* target = nullptr;
  float* dx = nullptr;
  LossResult* result = nullptr;
};
void mse(Stream& stream, const MseArgs& args);

struct CountCorrectArgs {
  int64_t rows = 0, classes = 0;
  const float* x = nullptr;
  const int64_t* labels = nullptr;
  int64_t* correct = nullptr;
};
void count_correct(Stream& stream, const CountCorrectArgs& args);

#define HALFTONE_LOSS_KERNELS(K)           \
  K(softmax, SoftmaxArgs)                  \
  K(softmax_backward, SoftmaxBackwardArgs) \
  K(loss, LossArgs)                        \
  K(mse, MseArgs)                          \
  K(count_correct, CountCorrectArgs)

}  // namespace halftone::kernels::cuda
