// Batch normalisation against the CPU's kernels on any machine.
#pragma once

#include "kernels/batch_norm.h"
#include "kernels/batch_norm_cuda.h"
#include "kernels/binary.h"
#include "kernels/quantize.h"
#include "test/kernels/cuda/values.h"

namespace halftone::test {

// The operands of a case: on the CPU, and of the machine.
template <class Machine>
struct NormCase {
  NormCase(Machine& machine, int64_t rows, int64_t channels, int shift,
           const ActivationOptions& act, bool awkward = false)
      : machine(machine),
        n(rows * channels),
        shape{rows, channels},
        x(awkward ? Tensor::from(Context(), shape, awkward_values(n, 8)) : make(shape, 1, 1.5f)),
        dy(make(shape, 2, 1.0f)),
        addend(make(shape, 3, 1.0f)),
        mean(make({channels}, 4, 1.0f)),
        variance(make({channels}, 5, 1.0f)),
        weight(make({channels}, 6, 1.0f)),
        bias(make({channels}, 7, 1.0f)),
        act(act),
        in(put(x, shift)),
        up(put(dy, shift)),
        added(put(addend, shift)),
        out(machine.template room<float>(n, shift)) {
    for (int64_t c = 0; c < channels; ++c) {
      variance.data<float>()[c] = std::fabs(variance.data<float>()[c]) + 0.1f;
    }
    norm.mean = put(mean), norm.variance = put(variance);
    norm.weight = put(weight), norm.bias = put(bias);
    norm.eps = 1e-5f, norm.act = act;
  }
  ~NormCase() { machine.clear(); }

  Tensor make(const Shape& s, uint32_t seed, float deviation) const {
    return Tensor::from(Context(), s, random_values(s.numel(), seed, deviation));
  }
  float* put(const Tensor& t, int shift = 0) { return machine.put(t.to_vector<float>(), shift); }
  template <class Args>
  Args args() const {
    Args result;
    result.rows = shape[0], result.channels = shape[1];
    return result;
  }
  kernels::Normalization on_cpu() const { return {mean, variance, 1e-5f, &weight, &bias, act}; }

  Machine& machine;
  int64_t n;
  Shape shape;
  Tensor x, dy, addend, mean, variance, weight, bias;
  ActivationOptions act;
  kernels::cuda::NormInputs norm;
  float *in, *up, *added, *out;
};

// Sums in float about other centres: within 1e-6 (batch_norm.h), of values near 1 and 100.
template <class Machine>
void check_statistics(Machine& machine, int64_t rows, int64_t channels, int shift, float offset) {
  const Context context;
  std::vector<float> values = random_values(rows * channels, 11);
  for (float& v : values) v += offset;
  const Tensor x = Tensor::from(context, {rows, channels}, values);
  Tensor mean = Tensor::empty(context, {channels}), variance = Tensor::empty(context, {channels});
  kernels::batch_norm_statistics(x, mean, variance);
  kernels::cuda::BatchNormStatisticsArgs args;
  args.rows = rows, args.channels = channels;
  args.x = machine.put(values, shift);
  args.mean = machine.template room<float>(channels);
  args.variance = machine.template room<float>(channels);
  machine.run(args);
  const double near = 2e-6 * (1.0 + static_cast<double>(std::fabs(offset)));
  require_within(machine.get(args.mean, channels), mean.to_vector<float>(), near);
  require_within(machine.get(args.variance, channels), variance.to_vector<float>(), 2e-5);
  const auto first = machine.get(args.variance, channels);
  machine.run(args);
  require_same_bits(machine.get(args.variance, channels), first);

  if (rows > 1) {
    Tensor rm = Tensor::full(context, {channels}, 0.5f),
           rv = Tensor::full(context, {channels}, 2.0f);
    kernels::cuda::BatchNormUpdateArgs update;
    update.rows = rows, update.channels = channels, update.momentum = 0.1f;
    update.mean = machine.put(mean.to_vector<float>());
    update.variance = machine.put(variance.to_vector<float>());
    update.running_mean = machine.put(rm.to_vector<float>());
    update.running_variance = machine.put(rv.to_vector<float>());
    kernels::batch_norm_update(mean, variance, rows, 0.1f, rm, rv);
    machine.run(update);
    require_same_bits(machine.get(update.running_mean, channels), rm.to_vector<float>());
    require_same_bits(machine.get(update.running_variance, channels), rv.to_vector<float>());
  }
  machine.clear();
}

template <class Machine>
void check_norm_forward(Machine& machine, int64_t rows, int64_t channels, int shift,
                        const ActivationOptions& act, bool awkward) {
  NormCase<Machine> c(machine, rows, channels, shift, act, awkward);
  Tensor want = Tensor::empty(Context(), c.shape);
  auto args = c.template args<kernels::cuda::BatchNormApplyArgs>();
  args.norm = c.norm, args.x = c.in, args.y = c.out;
  kernels::batch_norm_apply(c.x, c.on_cpu(), want);
  machine.run(args);
  require_same_bits(machine.get(c.out, c.n), want.to_vector<float>());
  args.addend = c.added;
  kernels::batch_norm_apply(c.x, c.on_cpu(), want, &c.addend);
  machine.run(args);
  require_same_bits(machine.get(c.out, c.n), want.to_vector<float>());
}

template <class Machine>
void check_norm_quantize(Machine& machine, int64_t rows, int64_t channels, int shift,
                         const ActivationOptions& act, bool awkward) {
  using kernels::cuda::NormOutput;
  NormCase<Machine> c(machine, rows, channels, shift, act, awkward);
  const Context context;
  Tensor normal = Tensor::empty(context, c.shape), want = Tensor::empty(context, c.shape);
  kernels::batch_norm_apply(c.x, c.on_cpu(), normal);
  auto args = c.template args<kernels::cuda::BatchNormQuantizeArgs>();
  args.norm = c.norm, args.x = c.in, args.y = c.out, args.output = NormOutput::kSign;
  kernels::binarize(normal, want);
  machine.run(args);
  require_same_bits(machine.get(c.out, c.n), want.to_vector<float>());

  const quant_math::Grid grid{0.03f, 100, 0, 255};
  args.grids = {machine.put(std::vector<float>{grid.scale}),
                machine.put(std::vector<int32_t>{grid.zero_point}), nullptr, 0, 255};
  args.output = NormOutput::kFakeQuantized;
  kernels::fake_quantize(normal, {{grid}, -1, quant_math::Rounding::kOnnx}, want);
  machine.run(args);
  require_same_bits(machine.get(c.out, c.n), want.to_vector<float>());

  Tensor codes = Tensor::empty(context, c.shape, DType::kUInt8);
  kernels::quantize_to_codes(normal, grid, quant_math::Rounding::kOnnx, codes);
  uint8_t* bytes = machine.template room<uint8_t>(c.n, shift);
  args.output = NormOutput::kCodes, args.y = bytes;
  machine.run(args);
  require_same_bits(machine.get(bytes, c.n), codes.to_vector<uint8_t>());
}

// The sums' order of addition moves offset and slope by a few ulp of the largest terms: sums of
// up to `rows` products of about 1, divided by rows, times a factor of at most 3 * 3.
template <class Machine>
void check_norm_backward(Machine& machine, int64_t rows, int64_t channels, int shift,
                         const ActivationOptions& act, bool sum, bool batch) {
  NormCase<Machine> c(machine, rows, channels, shift, act);
  const Context context;
  Tensor y = Tensor::empty(context, c.shape), dx = Tensor::empty(context, c.shape);
  Tensor da = Tensor::empty(context, c.shape);
  Tensor dw = Tensor::empty(context, {channels}), db = Tensor::empty(context, {channels});
  kernels::batch_norm_apply(c.x, c.on_cpu(), y, sum ? &c.addend : nullptr);
  kernels::batch_norm_backward(c.dy, c.x, sum ? &y : nullptr, c.on_cpu(), batch,
                               {&dx, &dw, &db, sum ? &da : nullptr});
  auto args = c.template args<kernels::cuda::BatchNormBackwardArgs>();
  args.norm = c.norm, args.use_batch_statistics = batch;
  args.dy = c.up, args.x = c.in, args.dx = c.out;
  args.y = sum ? c.put(y, shift) : nullptr;
  args.daddend = sum ? machine.template room<float>(c.n, shift) : nullptr;
  args.dweight = machine.template room<float>(channels);
  args.dbias = machine.template room<float>(channels);
  args.coefficients = machine.template room<float>(2 * channels);
  machine.run(args);
  const double near = 4e-6 * std::sqrt(static_cast<double>(rows));
  require_within(machine.get(args.dbias, channels), db.to_vector<float>(), near);
  require_within(machine.get(args.dweight, channels), dw.to_vector<float>(), 10 * near);
  require_within(machine.get(c.out, c.n), dx.to_vector<float>(), 2e-5);
  if (sum) require_same_bits(machine.get(args.daddend, c.n), da.to_vector<float>());
  if (!batch) require_same_bits(machine.get(c.out, c.n), dx.to_vector<float>());
}

template <class Machine>
void check_all_norms(Machine& machine) {
  const int64_t shapes[][2] = {{2, 1}, {5000, 1}, {333, 3}, {100, 10}, {71, 64}, {9, 300}};
  ActivationOptions relu, hardtanh;
  relu.kind = Activation::kReLU, hardtanh.kind = Activation::kHardtanh;
  for (const auto& s : shapes) {
    for (const int shift : {0, 1}) {
      INFO(s[0] << " rows of " << s[1] << " shifted " << shift);
      check_statistics(machine, s[0], s[1], shift, 0.0f);
      check_statistics(machine, s[0], s[1], shift, 100.0f);
      for (const ActivationOptions& act : {ActivationOptions(), relu, hardtanh}) {
        for (const bool awkward : {false, true}) {
          check_norm_forward(machine, s[0], s[1], shift, act, awkward);
          check_norm_quantize(machine, s[0], s[1], shift, act, awkward);
        }
        for (const bool batch : {true, false}) {
          check_norm_backward(machine, s[0], s[1], shift, act, false, batch);
          check_norm_backward(machine, s[0], s[1], shift, act, true, batch);
        }
      }
    }
  }
}

}  // namespace halftone::test
