// quantize.h, lsq.h, binary.h and dorefa.h on a device. Grids and ranges come from the host and go
// to it: those bodies wait for the device.
#include "kernels/binary.h"
#include "kernels/binary_cuda.h"
#include "kernels/device_call.h"
#include "kernels/dorefa.h"
#include "kernels/dorefa_cuda.h"
#include "kernels/lsq.h"
#include "kernels/moments.h"
#include "kernels/observe_cuda.h"
#include "kernels/quantize.h"
#include "kernels/quantize_cuda.h"

namespace halftone::kernels {
namespace {

using cuda::ChannelLayout;

// Grids on the device.
class UploadedGrids {
 public:
  UploadedGrids(const Context& context, const Grids& grids)
      : scale_(context, scales(grids)), zero_point_(context, zero_points(grids)), grids_(grids) {}
  cuda::DeviceGrids get() {
    const quant_math::Grid& first = grids_.list.front();
    return {scale_.data(), zero_point_.data(), nullptr, first.qmin, first.qmax};
  }

 private:
  static std::vector<float> scales(const Grids& grids) {
    std::vector<float> out;
    for (const quant_math::Grid& g : grids.list) out.push_back(g.scale);
    return out;
  }
  static std::vector<int32_t> zero_points(const Grids& grids) {
    std::vector<int32_t> out;
    for (const quant_math::Grid& g : grids.list) out.push_back(g.zero_point);
    return out;
  }
  DeviceRoom<float> scale_;
  DeviceRoom<int32_t> zero_point_;
  const Grids& grids_;
};

std::vector<Range> observe_body(const Tensor& x, int axis) {
  const ChannelLayout layout = channel_layout(x.shape(), axis);
  const auto count = static_cast<size_t>(layout.channels);
  DeviceRoom<float> low(x.context(), std::vector<float>(count, INFINITY));
  DeviceRoom<float> high(x.context(), std::vector<float>(count, -INFINITY));
  DeviceRoom<int32_t> not_finite(x.context(), std::vector<int32_t>{0});
  cuda::ObserveArgs args;
  args.layout = layout, args.x = DevicePointers(x).in(x);
  args.tracking = cuda::Tracking::kCurrent;
  args.low = low.data(), args.high = high.data(), args.not_finite = not_finite.data();
  cuda::observe(stream_of(x), args);
  // What is not finite is looked at by the CPU's body, which tells NaN from infinity.
  if (not_finite.values()[0] != 0) return observe_ranges(x.to(x.context().host()), axis);
  const std::vector<float> lows = low.values(), highs = high.values();
  std::vector<Range> ranges(count);
  for (size_t c = 0; c < count; ++c) ranges[c] = {lows[c], highs[c]};
  return ranges;
}

void fake_quantize_body(const Tensor& x, const Grids& grids, Tensor& y) {
  const DevicePointers p(x);
  UploadedGrids uploaded(x.context(), grids);
  cuda::fake_quantize(stream_of(x), {channel_layout(x.shape(), grids.axis), x.dtype(),
                                     uploaded.get(), grids.rounding, p.in(x), p.out(y)});
}

void fake_quantize_backward_body(const Tensor& dy, const Tensor& x, const Grids& grids,
                                 Tensor& dx) {
  const DevicePointers p(x);
  UploadedGrids uploaded(x.context(), grids);
  cuda::fake_quantize_backward(stream_of(x),
                               {channel_layout(x.shape(), grids.axis), x.dtype(), uploaded.get(),
                                grids.rounding, p.in(dy), p.in(x), p.out(dx)});
}

// NNI's NaiveQuantizer: of weights, once.
void truncate_body(const Tensor& x, const Grids& grids, Tensor& y) {
  const Tensor home = x.to(x.context().host());
  Tensor values = Tensor::empty(home.context(), y.shape());
  fake_quantize_truncate(home, grids, values);
  y.copy_from(values);
}

// LSQ's sums for LSQ (zero point 0) and, with `dbeta`, LSQ+.
void lsq(const Tensor& dy, const Tensor& x, const Grids& grids, quant_math::LsqEdge edge,
         Tensor* dx, std::vector<double>& ds, std::vector<double>* dbeta) {
  const DevicePointers p(x);
  UploadedGrids uploaded(x.context(), grids);
  const int64_t count = static_cast<int64_t>(grids.list.size());
  DeviceRoom<float> dscale(x.context(), count), doffset(x.context(), count);
  Tensor scratch = dx == nullptr ? Tensor::empty(x.context(), x.shape()) : Tensor();
  std::vector<float> offsets;
  // A grid's own zero point comes back from beta: lsq_plus_grid rounds -beta / s, here a whole.
  for (const quant_math::Grid& g : grids.list) {
    offsets.push_back(g.scale * static_cast<float>(-g.zero_point));
  }
  DeviceRoom<float> offset(x.context(), offsets);
  cuda::LsqBackwardArgs args;
  args.layout = channel_layout(x.shape(), grids.axis), args.grids = uploaded.get(),
  args.edge = edge;
  args.dy = p.in(dy), args.x = p.in(x), args.dx = p.out(dx == nullptr ? scratch : *dx);
  args.dscale = dscale.data();
  if (dbeta != nullptr) args.grids.offset = offset.data(), args.doffset = doffset.data();
  cuda::lsq_backward(stream_of(x), args);
  const std::vector<float> sums = dscale.values();
  ds.assign(sums.begin(), sums.end());
  if (dbeta == nullptr) return;
  const std::vector<float> shares = doffset.values();
  dbeta->assign(shares.begin(), shares.end());
}

void lsq_body(const Tensor& dy, const Tensor& x, const Grids& grids, quant_math::LsqEdge edge,
              Tensor* dx, std::vector<double>& ds) {
  lsq(dy, x, grids, edge, dx, ds, nullptr);
}

void lsq_plus_body(const Tensor& dy, const Tensor& x, const Grids& grids, quant_math::LsqEdge edge,
                   Tensor* dx, std::vector<double>& ds, std::vector<double>& dbeta) {
  lsq(dy, x, grids, edge, dx, ds, &dbeta);
}

// ---- one bit ----

void sign_body(const Tensor& x, Tensor& y) {
  const DevicePointers p(x);
  cuda::sign(stream_of(x), {x.numel(), x.dtype(), p.in(x), p.out(y), false, {}});
}

void stochastic_body(const Tensor& x, const Philox& noise, Tensor& y) {
  const DevicePointers p(x);
  cuda::sign(stream_of(x), {x.numel(), x.dtype(), p.in(x), p.out(y), true, noise});
}

void sign_backward_body(const Tensor& dy, const Tensor& x, quant_math::SignGradient rule,
                        Tensor& dx) {
  const DevicePointers p(x);
  cuda::sign_backward(stream_of(x), {x.numel(), x.dtype(), rule, p.in(dy), p.in(x), p.out(dx)});
}

void clip_body(Tensor& w) {
  cuda::clip_latent(stream_of(w), {w.numel(), DevicePointers(w).out(w)});
}

std::vector<float> mean_magnitude_body(const Tensor& w, bool per_row) {
  const int64_t rows = per_row ? w.dim(0) : 1;
  DeviceRoom<float> alpha(w.context(), rows);
  cuda::mean_magnitude(stream_of(w), {rows, rows == 0 ? 0 : w.numel() / rows,
                                      DevicePointers(w).in(w), alpha.data()});
  return alpha.values();
}

void scaled_sign_body(const Tensor& w, const std::vector<float>& alpha, Tensor& y) {
  const DevicePointers p(w);
  const int64_t rows = static_cast<int64_t>(alpha.size());
  DeviceRoom<float> scales(w.context(), alpha);
  cuda::scaled_sign(stream_of(w), {rows, w.numel() / rows, p.in(w), scales.data(), p.out(y)});
}

void scaled_sign_backward_body(const Tensor& dy, const Tensor& w, const std::vector<float>& alpha,
                               Tensor& dw) {
  const DevicePointers p(w);
  const int64_t rows = static_cast<int64_t>(alpha.size());
  DeviceRoom<float> scales(w.context(), alpha);
  cuda::scaled_sign_backward(stream_of(w),
                             {rows, w.numel() / rows, p.in(dy), p.in(w), scales.data(), p.out(dw)});
}

// ---- DoReFa ----

// max |tanh w|, by the forward, whose result is thrown away.
void find_largest(const Tensor& w, DeviceRoom<float>& largest) {
  const DevicePointers p(w);
  Tensor scratch = Tensor::empty(w.context(), w.shape());
  cuda::dorefa_weights(stream_of(w),
                       {w.numel(), w.dtype(), 2, p.in(w), p.out(scratch), largest.data()});
}

float dorefa_largest_body(const Tensor& w) {
  DeviceRoom<float> largest(w.context(), 1);
  find_largest(w, largest);
  return largest.values()[0];
}

// The device finds the largest itself, here and in the backward: the same number.
void dorefa_weights_body(const Tensor& w, float, int bits, Tensor& y) {
  const DevicePointers p(w);
  DeviceRoom<float> largest(w.context(), 1);
  cuda::dorefa_weights(stream_of(w),
                       {w.numel(), w.dtype(), bits, p.in(w), p.out(y), largest.data()});
}

void dorefa_weights_backward_body(const Tensor& dy, const Tensor& w, float, Tensor& dw) {
  const DevicePointers p(w);
  DeviceRoom<float> largest(w.context(), 1);
  DeviceRoom<quant_math::DorefaWeightRule> rule(w.context(), 1);
  find_largest(w, largest);
  cuda::dorefa_weights_backward(stream_of(w), {w.numel(), w.dtype(), p.in(dy), p.in(w),
                                               largest.data(), rule.data(), p.out(dw)});
}

void dorefa_activations_body(const Tensor& x, int bits, Tensor& y) {
  const DevicePointers p(x);
  cuda::dorefa_activations(stream_of(x), {x.numel(), x.dtype(), bits, p.in(x), p.out(y)});
}

void dorefa_activations_backward_body(const Tensor& dy, const Tensor& x, Tensor& dx) {
  const DevicePointers p(x);
  cuda::dorefa_activations_backward(stream_of(x),
                                    {x.numel(), x.dtype(), p.in(dy), p.in(x), p.out(dx)});
}

void dorefa_gradients_body(const Tensor& g, int bits, const Philox& noise, Tensor& y) {
  const DevicePointers p(g);
  const int64_t samples = g.dim(0);
  DeviceRoom<float> largest(g.context(), samples);
  cuda::dorefa_gradients(stream_of(g), {samples, samples == 0 ? 0 : g.numel() / samples, g.dtype(),
                                        bits, noise, p.in(g), p.out(y), largest.data()});
}

// Once per quantizer: initial scales.
std::vector<Moments> moments_body(const Tensor& x, int axis) {
  return moments(x.to(x.context().host()), axis);
}

[[maybe_unused]] const bool registered = [] {
  device_body<& observe_ranges> = observe_body;
  device_body<& fake_quantize> = fake_quantize_body;
  device_body<& fake_quantize_backward> = fake_quantize_backward_body;
  device_body<& fake_quantize_truncate> = truncate_body;
  device_body<& lsq_backward> = lsq_body;
  device_body<& lsq_plus_backward> = lsq_plus_body;
  device_body<& binarize> = sign_body;
  device_body<& binarize_stochastic> = stochastic_body;
  device_body<& binarize_backward> = sign_backward_body;
  device_body<& clip_latent_weights> = clip_body;
  device_body<& mean_magnitude> = mean_magnitude_body;
  device_body<& binarize_scaled> = scaled_sign_body;
  device_body<& binarize_scaled_backward> = scaled_sign_backward_body;
  device_body<& dorefa_largest> = dorefa_largest_body;
  device_body<& dorefa_weights> = dorefa_weights_body;
  device_body<& dorefa_weights_backward> = dorefa_weights_backward_body;
  device_body<& dorefa_activations> = dorefa_activations_body;
  device_body<& dorefa_activations_backward> = dorefa_activations_backward_body;
  device_body<& dorefa_gradients> = dorefa_gradients_body;
  device_body<& moments> = moments_body;
  return true;
}();

}  // namespace
}  // namespace halftone::kernels
