// One-bit values on a CUDA device; rules in integer/binary_math.h.
#pragma once

#include "kernels/cuda/stream.h"
#include "kernels/integer/binary_math.h"
#include "tensor/dtype.h"
#include "tensor/random.h"

namespace halftone::kernels::cuda {

struct SignArgs {
  int64_t numel = 0;
  DType dtype = DType::kFloat32;
  const void* x = nullptr;
  void* y = nullptr;        // +1 or -1; may be x
  bool stochastic = false;  // element i with random.uniform(i)
  Philox random;
};
void sign(Stream& stream, const SignArgs& args);

struct SignBackwardArgs {
  int64_t numel = 0;
  DType dtype = DType::kFloat32;
  quant_math::SignGradient rule = quant_math::SignGradient::kStraightThrough;
  const void* dy = nullptr;
  const void* x = nullptr;
  void* dx = nullptr;  // may be dy
};
void sign_backward(Stream& stream, const SignBackwardArgs& args);

// w = clamp(w, -1, 1): latent weights after the optimizer's step. float32.
struct ClipLatentArgs {
  int64_t numel = 0;
  float* w = nullptr;
};
void clip_latent(Stream& stream, const ClipLatentArgs& args);

// Mean |w| per row: XNOR-Net's alpha. float32.
struct MeanMagnitudeArgs {
  int64_t rows = 0, length = 0;
  const float* w = nullptr;
  float* alpha = nullptr;  // rows
};
void mean_magnitude(Stream& stream, const MeanMagnitudeArgs& args);

// y = alpha sign(w), one alpha per row. float32.
struct ScaledSignArgs {
  int64_t rows = 0, length = 0;
  const float* w = nullptr;
  const float* alpha = nullptr;
  float* y = nullptr;
};
void scaled_sign(Stream& stream, const ScaledSignArgs& args);

// dw of it by quant_math::xnor_gradient, straight through sign. float32.
struct ScaledSignBackwardArgs {
  int64_t rows = 0, length = 0;
  const float* dy = nullptr;
  const float* w = nullptr;
  const float* alpha = nullptr;
  float* dw = nullptr;  // may be dy
};
void scaled_sign_backward(Stream& stream, const ScaledSignBackwardArgs& args);

#define HALFTONE_BINARY_KERNELS(K)     \
  K(sign, SignArgs)                    \
  K(sign_backward, SignBackwardArgs)   \
  K(clip_latent, ClipLatentArgs)       \
  K(mean_magnitude, MeanMagnitudeArgs) \
  K(scaled_sign, ScaledSignArgs)       \
  K(scaled_sign_backward, ScaledSignBackwardArgs)

}  // namespace halftone::kernels::cuda
