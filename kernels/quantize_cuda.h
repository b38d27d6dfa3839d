// Fake quantization, codes and learned step sizes on a CUDA device. Pointers are device pointers to
// float32 or bfloat16 values, 4 or 2 byte aligned (16 for full speed); nothing here waits for the
// device, and sums have the same bits in every run.
#pragma once

#include "kernels/cuda/grids.h"
#include "kernels/cuda/stream.h"
#include "kernels/cuda/walk.h"
#include "tensor/dtype.h"

namespace halftone::kernels::cuda {

struct FakeQuantizeArgs {
  ChannelLayout layout;  // channels 1: one grid for all
  DType dtype = DType::kFloat32;
  DeviceGrids grids;
  quant_math::Rounding rounding = quant_math::Rounding::kOnnx;
  const void* x = nullptr;
  void* y = nullptr;  // may be x
};
// y = s (quantize(x) - z), rounded to the dtype.
void fake_quantize(Stream& stream, const FakeQuantizeArgs& args);

struct FakeQuantizeBackwardArgs {
  ChannelLayout layout;
  DType dtype = DType::kFloat32;
  DeviceGrids grids;
  quant_math::Rounding rounding = quant_math::Rounding::kOnnx;
  const void* dy = nullptr;
  const void* x = nullptr;
  void* dx = nullptr;  // may be dy
};
// dx = dy where the rounded code lies in the range, else 0 (straight through).
void fake_quantize_backward(Stream& stream, const FakeQuantizeBackwardArgs& args);

struct QuantizeArgs {
  ChannelLayout layout;
  DType dtype = DType::kFloat32;  // of x
  DeviceGrids grids;              // codes fit the code type
  quant_math::Rounding rounding = quant_math::Rounding::kOnnx;
  const void* x = nullptr;
  DType code_dtype = DType::kUInt8;  // or int8
  void* codes = nullptr;
};
void quantize(Stream& stream, const QuantizeArgs& args);

struct LsqBackwardArgs {
  ChannelLayout layout;
  DType dtype = DType::kFloat32;
  DeviceGrids grids;  // with an offset: LSQ+
  quant_math::LsqEdge edge = quant_math::LsqEdge::kInclusive;
  const void* dy = nullptr;
  const void* x = nullptr;
  void* dx = nullptr;  // may be dy
  double gradient_scale = 1.0;
  float* dscale = nullptr;   // channels
  float* doffset = nullptr;  // channels; only with an offset
};
// The gradients of x, s and beta (lsq_math.h) in one pass over dy and x. Forward is fake_quantize.
void lsq_backward(Stream& stream, const LsqBackwardArgs& args);

#define HALFTONE_QUANTIZE_KERNELS(K)                  \
  K(fake_quantize, FakeQuantizeArgs)                  \
  K(fake_quantize_backward, FakeQuantizeBackwardArgs) \
  K(quantize, QuantizeArgs)
#define HALFTONE_LSQ_KERNELS(K) K(lsq_backward, LsqBackwardArgs)

}  // namespace halftone::kernels::cuda
