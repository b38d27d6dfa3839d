// Pooling against the CPU's kernels, bit for bit, on any machine.
#pragma once

#include "kernels/pool.h"
#include "kernels/pool_cuda.h"
#include "test/kernels/cuda/values.h"

namespace halftone::test {

inline kernels::cuda::PoolGeometry pool_geometry(const Shape& x, const Shape& y,
                                                 const Pool2dOptions& options) {
  return {x[0], x[1], x[2], x[3], y[1], y[2], options};
}

template <class Machine>
void check_max_pool(Machine& machine, const Shape& shape, const Pool2dOptions& options) {
  const Context context;
  const Tensor x = Tensor::from(context, shape, awkward_values(shape.numel(), 1));
  const Shape pooled = pool2d_shape(shape, options);
  const int64_t outs = pooled.numel(), ins = shape.numel();
  Tensor y = Tensor::empty(context, pooled), taps = Tensor::empty(context, pooled, DType::kUInt8);
  kernels::max_pool2d_with_taps(x, options, y, taps);
  kernels::cuda::MaxPoolArgs args;
  args.g = pool_geometry(shape, pooled, options);
  args.x = machine.put(x.to_vector<float>());
  args.y = machine.template room<float>(outs);
  machine.run(args);
  require_same_bits(machine.get(args.y, outs), y.to_vector<float>());
  args.taps = machine.template room<uint8_t>(outs);
  machine.run(args);
  require_same_bits(machine.get(args.taps, outs), taps.to_vector<uint8_t>());

  const Tensor dy = Tensor::from(context, pooled, random_values(outs, 2));
  Tensor dx = Tensor::empty(context, shape);
  kernels::max_pool2d_backward(dy, y, taps, options, dx);
  kernels::cuda::MaxPoolBackwardArgs back;
  back.g = args.g, back.y = args.y, back.taps = args.taps;
  back.dy = machine.put(dy.to_vector<float>());
  back.dx = machine.template room<float>(ins);
  machine.run(back);
  require_same_bits(machine.get(back.dx, ins), dx.to_vector<float>());
  machine.clear();
}

// out 0: pooling by options; else adaptive to out x out.
template <class Machine>
void check_avg_pool(Machine& machine, const Shape& shape, const Pool2dOptions& options,
                    int64_t out) {
  const Context context;
  const Tensor x = Tensor::from(context, shape, random_values(shape.numel(), 3));
  const Shape pooled =
      out == 0 ? pool2d_shape(shape, options) : Shape{shape[0], out, out, shape[3]};
  const Tensor dy = Tensor::from(context, pooled, random_values(pooled.numel(), 4));
  Tensor y = Tensor::empty(context, pooled), dx = Tensor::empty(context, shape);
  if (out == 0) {
    kernels::avg_pool2d(x, options, y);
    kernels::avg_pool2d_backward(dy, options, dx);
  } else {
    kernels::adaptive_avg_pool2d(x, y);
    kernels::adaptive_avg_pool2d_backward(dy, dx);
  }
  kernels::cuda::AvgPoolArgs args;
  args.g = pool_geometry(shape, pooled, options), args.adaptive = out != 0;
  args.x = machine.put(x.to_vector<float>());
  args.y = machine.template room<float>(pooled.numel());
  machine.run(args);
  require_same_bits(machine.get(args.y, pooled.numel()), y.to_vector<float>());
  kernels::cuda::AvgPoolBackwardArgs back;
  back.g = args.g, back.adaptive = args.adaptive;
  back.dy = machine.put(dy.to_vector<float>());
  back.dx = machine.template room<float>(shape.numel());
  machine.run(back);
  require_same_bits(machine.get(back.dx, shape.numel()), dx.to_vector<float>());
  machine.clear();
}

template <class Machine>
void check_all_pools(Machine& machine) {
  Pool2dOptions two, three, clamped, uneven;
  three.kernel_h = three.kernel_w = 3, three.pad_h = three.pad_w = 1, three.ceil_mode = true;
  clamped.act.kind = Activation::kHardtanh;
  uneven.kernel_h = 3, uneven.stride_h = 1, uneven.kernel_w = 2, uneven.stride_w = 3;
  Pool2dOptions without_pad = three;
  without_pad.count_include_pad = false;
  for (const Shape& shape : {Shape{2, 8, 8, 3}, Shape{3, 7, 5, 16}, Shape{1, 9, 11, 1}}) {
    INFO(shape.str());
    for (const Pool2dOptions& options : {two, three, clamped, uneven}) {
      check_max_pool(machine, shape, options);
    }
    for (const Pool2dOptions& options : {two, three, uneven, without_pad}) {
      check_avg_pool(machine, shape, options, 0);
    }
    for (const int64_t out : {1, 3}) check_avg_pool(machine, shape, two, out);
  }
}

}  // namespace halftone::test
