// What the backward of a chain's step on a device needs of its forward. Inside //quant only.
#pragma once

#include "kernels/chain_cuda.h"
#include "kernels/device_call.h"
#include "quant/chain.h"

namespace halftone {

struct DeviceStep {
  DeviceStep(const Context& context, int64_t out_channels)
      : channels(out_channels),
        flips(context, channels),
        units(context, channels),
        reals(context, channels),
        centre(context, channels),
        constants(context, channels),
        normal(context, channels),
        grid(context, 1) {}

  const float* input_scale() const { return static_cast<const float*>(x.scale.raw()); }
  int64_t rows() const { return acc.numel() / channels; }
  // Null: the output stays float.
  const quant_math::OutputGrid* output() const { return quantized ? grid.data() : nullptr; }

  int64_t channels;
  Codes x;          // with a scale of the device
  Tensor weight;    // the float values that are quantized
  Tensor integers;  // of their codes, times the rows' factors, as floats
  FakeQuantize::GradientFn weight_gradient;
  size_t learned_of_weight = 0;
  // Per channel: as in cuda::WeightRowsArgs and cuda::FoldChannelsArgs.
  kernels::DeviceRoom<int32_t> flips;
  kernels::DeviceRoom<double> units;
  kernels::DeviceRoom<float> reals, centre;
  kernels::DeviceRoom<quant_math::Channel> constants;
  kernels::DeviceRoom<quant_math::Normalised> normal;
  kernels::DeviceRoom<quant_math::OutputGrid> grid;
  // The accumulator, behind the pooling if there is one.
  Tensor acc, pool_taps;
  Shape conv_shape;  // before the pooling
  bool batch_statistics = false, quantized = false;
  quant_math::Pass pass;               // of an output that stays float
  std::optional<LearnedGrid> learned;  // of a learned output grid
  std::optional<Philox> gradient_noise;
};

// Codes less their zero point, as floats.
Tensor integers_of(const Codes& x);

BackwardFn device_chain_backward(const Chain& chain, std::shared_ptr<const DeviceStep> step);

}  // namespace halftone
