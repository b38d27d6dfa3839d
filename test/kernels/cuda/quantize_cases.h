// Fake quantization, its gradient and codes against the CPU's kernels, bit for bit, on any machine:
// the CPU expansion of the bodies, or a GPU.
#pragma once

#include "kernels/integer/lsq_math.h"
#include "kernels/quantize.h"
#include "kernels/quantize_cuda.h"
#include "test/kernels/cuda/values.h"

namespace halftone::test {

struct QuantizeCase {
  ChannelLayout layout;
  int x_shift = 0, y_shift = 0;  // elements behind an aligned address
  quant_math::Rounding rounding = quant_math::Rounding::kOnnx;
  int32_t qmin = 0, qmax = 255;
};

inline kernels::Grids grids_of(const QuantizeCase& c) {
  kernels::Grids grids;
  grids.axis = 1;
  grids.rounding = c.rounding;
  for (int64_t k = 0; k < c.layout.channels; ++k) {
    // Channel 0 has scale 0.5, for which awkward_values has ties.
    const float scale = 0.5f + 0.03f * static_cast<float>(k % 50);
    grids.list.push_back({scale, static_cast<int32_t>(c.qmin + 3 + k % 5), c.qmin, c.qmax});
  }
  return grids;
}

template <class Machine>
kernels::cuda::DeviceGrids put_grids(Machine& machine, const kernels::Grids& grids) {
  std::vector<float> scale;
  std::vector<int32_t> zero_point;
  for (const quant_math::Grid& g : grids.list) {
    scale.push_back(g.scale);
    zero_point.push_back(g.zero_point);
  }
  return {machine.put(scale), machine.put(zero_point), nullptr, grids.list[0].qmin,
          grids.list[0].qmax};
}

template <class T, class Machine>
void check_fake_quantize(Machine& machine, const QuantizeCase& c) {
  const Context context;
  const std::vector<T> x = as<T>(awkward_values(c.layout.numel(), 7));
  const kernels::Grids grids = grids_of(c);
  const Tensor in = tensor_of(context, c.layout, to_floats(x));
  Tensor want = Tensor::empty(context, in.shape());
  kernels::fake_quantize(in, grids, want);

  kernels::cuda::FakeQuantizeArgs args;
  args.layout = c.layout;
  args.dtype = DTypeOf<T>::value;
  args.grids = put_grids(machine, grids);
  args.rounding = c.rounding;
  args.x = machine.put(x, c.x_shift);
  T* y = machine.template room<T>(x.size(), c.y_shift);
  args.y = y;
  machine.run(args);
  require_same_bits(machine.get(y, x.size()), as<T>(want.to_vector<float>()));
  machine.clear();
}

// LSQ+ forward: a channel's zero point comes from its offset, on the device.
template <class T, class Machine>
void check_lsq_plus_forward(Machine& machine, const QuantizeCase& c) {
  const Context context;
  const std::vector<T> x = as<T>(awkward_values(c.layout.numel(), 9));
  const Tensor in = tensor_of(context, c.layout, to_floats(x));
  std::vector<float> scale, offset;
  kernels::Grids grids;
  grids.axis = 1;
  for (int64_t k = 0; k < c.layout.channels; ++k) {
    scale.push_back(0.5f + 0.03f * static_cast<float>(k % 50));
    offset.push_back(-7.25f + 1.3f * static_cast<float>(k % 7));
    grids.list.push_back(quant_math::lsq_plus_grid(scale.back(), offset.back(), c.qmin, c.qmax));
  }
  Tensor want = Tensor::empty(context, in.shape());
  kernels::fake_quantize(in, grids, want);

  kernels::cuda::FakeQuantizeArgs args;
  args.layout = c.layout;
  args.dtype = DTypeOf<T>::value;
  args.grids = {machine.put(scale), nullptr, machine.put(offset), c.qmin, c.qmax};
  args.x = machine.put(x, c.x_shift);
  T* y = machine.template room<T>(x.size(), c.y_shift);
  args.y = y;
  machine.run(args);
  require_same_bits(machine.get(y, x.size()), as<T>(want.to_vector<float>()));
  machine.clear();
}

template <class T, class Machine>
void check_fake_quantize_backward(Machine& machine, const QuantizeCase& c) {
  const Context context;
  const std::vector<T> x = as<T>(awkward_values(c.layout.numel(), 7));
  const std::vector<T> dy = as<T>(awkward_values(c.layout.numel(), 8));
  const kernels::Grids grids = grids_of(c);
  const Tensor in = tensor_of(context, c.layout, to_floats(x));
  Tensor want = Tensor::empty(context, in.shape());
  kernels::fake_quantize_backward(tensor_of(context, c.layout, to_floats(dy)), in, grids, want);

  kernels::cuda::FakeQuantizeBackwardArgs args;
  args.layout = c.layout;
  args.dtype = DTypeOf<T>::value;
  args.grids = put_grids(machine, grids);
  args.rounding = c.rounding;
  args.x = machine.put(x, c.x_shift);
  args.dy = machine.put(dy, c.x_shift);
  T* dx = machine.template room<T>(x.size(), c.y_shift);
  args.dx = dx;
  machine.run(args);
  require_same_bits(machine.get(dx, x.size()), as<T>(want.to_vector<float>()));
  machine.clear();
}

// The CPU has codes per tensor only: here each is checked by the scalar rule.
template <class T, class Code, class Machine>
void check_quantize(Machine& machine, const QuantizeCase& c) {
  const std::vector<T> x = as<T>(awkward_values(c.layout.numel(), 7));
  const std::vector<float> values = to_floats(x);
  const kernels::Grids grids = grids_of(c);
  std::vector<Code> want;
  for (size_t i = 0; i < values.size(); ++i) {
    const quant_math::Grid& g =
        grids.list[static_cast<int64_t>(i) / c.layout.inner % c.layout.channels];
    want.push_back(static_cast<Code>(c.rounding == quant_math::Rounding::kOnnx
                                         ? quant_math::quantize(values[i], g)
                                         : quant_math::quantize_nni(values[i], g)));
  }
  kernels::cuda::QuantizeArgs args;
  args.layout = c.layout;
  args.dtype = DTypeOf<T>::value;
  args.code_dtype = DTypeOf<Code>::value;
  args.grids = put_grids(machine, grids);
  args.rounding = c.rounding;
  args.x = machine.put(x, c.x_shift);
  Code* codes = machine.template room<Code>(x.size(), c.y_shift);
  args.codes = codes;
  machine.run(args);
  require_same_bits(machine.get(codes, x.size()), want);
  machine.clear();
}

// Channels innermost and outermost, even and odd, few and more than a block has threads; sizes that
// leave heads, tails and short rows.
inline std::vector<ChannelLayout> layouts() {
  return {{1, 1, 0},   {1, 1, 1},    {1, 1, 7},    {1, 1, 4096}, {1, 1, 4099}, {1, 1, 20003},
          {1, 5, 27},  {1, 64, 9},   {1, 3, 5000}, {3, 4, 17},   {2, 33, 300}, {1, 2, 8195},
          {9, 2, 1},   {1001, 3, 1}, {700, 4, 1},  {311, 10, 1}, {57, 64, 1},  {33, 100, 1},
          {5, 257, 1}, {3, 1030, 1}, {2, 2048, 1}, {2003, 6, 1}};
}

// Some of them, for tools that slow everything down.
inline std::vector<ChannelLayout> few_layouts() {
  return {{1, 1, 7},    {1, 1, 20003}, {1, 5, 27},  {2, 3, 5000},
          {1001, 3, 1}, {57, 64, 1},   {3, 1030, 1}};
}

template <class Machine>
void check_all_quantize(Machine& machine, const std::vector<ChannelLayout>& list) {
  using quant_math::Rounding;
  const int shifts[][2] = {{0, 0}, {1, 1}, {3, 3}, {1, 0}, {5, 2}};
  int turn = 0;
  for (const ChannelLayout& layout : list) {
    for (const auto& shift : shifts) {
      INFO(text(layout) << " shifted " << shift[0] << " " << shift[1]);
      const Rounding rounding = ++turn % 2 == 0 ? Rounding::kNni : Rounding::kOnnx;
      QuantizeCase c{layout, shift[0], shift[1], rounding, 0, 255};
      check_fake_quantize<float>(machine, c);
      check_fake_quantize<BFloat16>(machine, c);
      check_fake_quantize_backward<float>(machine, c);
      check_fake_quantize_backward<BFloat16>(machine, c);
      check_quantize<float, uint8_t>(machine, c);
      check_quantize<BFloat16, uint8_t>(machine, c);
      check_lsq_plus_forward<float>(machine, c);
      check_lsq_plus_forward<BFloat16>(machine, c);
      c.qmin = -127, c.qmax = 127;
      check_quantize<float, int8_t>(machine, c);
      check_quantize<BFloat16, int8_t>(machine, c);
      check_fake_quantize<float>(machine, c);
    }
  }
}

}  // namespace halftone::test
