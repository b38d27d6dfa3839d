// chain_backward.cc, where the device finds the coefficients itself.
#include "kernels/codes_cuda.h"
#include "kernels/column_sums.h"
#include "kernels/conv.h"
#include "kernels/elementwise.h"
#include "kernels/matmul.h"
#include "kernels/pool.h"
#include "quant/device_step.h"

namespace halftone {
namespace {

namespace device = kernels::cuda;
using kernels::launch;

// Order of the inputs of a chain's node, as in chain_backward.cc.
enum Input : size_t { kX, kWeight, kBias, kGamma, kBeta, kLearned };

float* room(GradSink& sink, size_t input) {
  return sink.needs(input) ? static_cast<float*>(sink.out(input).raw()) : nullptr;
}

bool needs_weight(const DeviceStep& s, const GradSink& sink) {
  bool needs = sink.needs(kWeight);
  for (size_t i = 0; i < s.learned_of_weight; ++i) needs = needs || sink.needs(kLearned + i);
  return needs;
}

// The gradients of everything but x and the weight; returns the slopes of the accumulator's.
kernels::DeviceRoom<device::EpilogueSlope> reduce(const DeviceStep& s, const Tensor& dy,
                                                  GradSink& sink) {
  const bool learned = s.learned.has_value();
  const Context& context = dy.context();
  kernels::DeviceRoom<double> sums(context, s.channels * (learned ? 4 : 2));
  device::EpilogueSumsArgs a;
  a.rows = s.rows(), a.channels = s.channels;
  a.dy = static_cast<const float*>(dy.raw()), a.acc = static_cast<const int32_t*>(s.acc.raw());
  a.constants = s.constants.data(), a.centre = s.centre.data();
  a.pass = s.pass, a.learned = learned, a.sums = sums.data(), a.grid = s.output();
  launch<&device::epilogue_backward_sums>(dy, a);

  kernels::DeviceRoom<device::EpilogueSlope> slopes(context, s.channels);
  device::ChannelGradientsArgs g;
  g.channels = s.channels, g.count = s.rows();
  g.batch_statistics = s.batch_statistics;
  g.normal = s.normal.data(), g.sums = sums.data(), g.slopes = slopes.data();
  g.dgamma = room(sink, kGamma), g.dbeta = room(sink, kBeta), g.dbias = room(sink, kBias);
  g.learned = learned;
  if (learned) {
    const size_t at = kLearned + s.learned_of_weight;
    g.factor = s.learned->factor;
    g.dscale = room(sink, at);
    if (s.learned->has_offset) g.doffset = room(sink, at + 1);
  }
  launch<&device::channel_gradients>(dy, g);
  return slopes;
}

struct Layer {
  bool is_conv;
  Conv2dOptions options;
  Pool2dOptions pool;
};

// The gradient of the accumulator, before the pooling. In place where nobody else sees dy.
Tensor accumulator_gradient(const Layer& layer, const DeviceStep& s,
                            const device::EpilogueSlope* slopes, const Tensor& dy) {
  Tensor dv = dy.unique() ? dy : Tensor::empty(dy.context(), s.acc.shape());
  device::EpilogueApplyArgs a;
  a.rows = s.rows(), a.channels = s.channels;
  a.dy = static_cast<const float*>(dy.raw()), a.acc = static_cast<const int32_t*>(s.acc.raw());
  a.constants = s.constants.data(), a.slopes = slopes;
  a.pass = s.pass, a.grid = s.output(), a.dacc = static_cast<float*>(dv.raw());
  launch<&device::epilogue_backward_apply>(dy, a);
  if (!s.pool_taps.defined()) return dv;
  Tensor spread = Tensor::empty(dy.context(), s.conv_shape);
  kernels::max_pool2d_backward(dv, Tensor(), s.pool_taps, layer.pool, spread);
  return spread;
}

// The weights that the forward used, as reals.
Tensor dequantized_weights(const DeviceStep& s) {
  Tensor w = Tensor::empty(s.weight.context(), s.weight.shape());
  device::ScaleRowsArgs a;
  a.rows = s.channels, a.length = s.channels == 0 ? 0 : w.numel() / s.channels;
  a.factors = s.reals.data();
  a.x = static_cast<const float*>(s.integers.raw()), a.y = static_cast<float*>(w.raw());
  launch<&device::scale_rows>(w, a);
  return w;
}

void data_gradient(const Layer& layer, const DeviceStep& s, const Tensor& dv, Tensor& dx) {
  const Tensor w = dequantized_weights(s);
  layer.is_conv ? kernels::conv2d_backward_data(dv, w, layer.options, dx)
                : kernels::linear_backward_data(dv, w, dx);
}

// The gradient of the quantized weight as a real, s_x * (integers of x) * dv, through its
// quantizer.
void weight_gradient(const Layer& layer, const DeviceStep& s, const Tensor& dv, GradSink& sink) {
  const Tensor x = integers_of(s.x);
  Tensor raw = Tensor::empty(dv.context(), s.weight.shape());
  layer.is_conv ? kernels::conv2d_backward_weight(x, dv, layer.options, raw, nullptr)
                : kernels::linear_backward_weight(x, dv, raw, nullptr);
  kernels::scale_by(raw, s.x.scale, raw);
  s.weight_gradient(raw, s.weight, sink, kWeight, kLearned);
}

void run_backward(const Layer& layer, const DorefaGradient* gradient, const DeviceStep& s,
                  const Tensor& dy, GradSink& sink) {
  const auto slopes = reduce(s, dy, sink);
  const bool quantizes = s.gradient_noise.has_value();
  const bool needs_dv = quantizes && sink.needs(kBias);
  if (!needs_dv && !sink.needs(kX) && !needs_weight(s, sink)) return;
  Tensor dv = accumulator_gradient(layer, s, slopes.data(), dy);
  if (quantizes) gradient->quantize_gradient(dv, *s.gradient_noise, dv);
  // Under the batch's statistics a bias cancels, and its gradient is 0.
  if (needs_dv && !s.batch_statistics) kernels::column_sums(dv, sink.out(kBias));
  if (sink.needs(kX)) data_gradient(layer, s, dv, sink.out(kX));
  if (needs_weight(s, sink)) weight_gradient(layer, s, dv, sink);
}

}  // namespace

Tensor integers_of(const Codes& x) {
  Tensor y = Tensor::empty(x.values.context(), x.values.shape());
  device::ReadCodesArgs a;
  a.layout = {1, 1, y.numel()};
  a.zero_point = x.params.zero_point;
  if (x.zero_point.defined()) a.zero_points = static_cast<const int32_t*>(x.zero_point.raw());
  a.codes = x.values.raw(), a.y = static_cast<float*>(y.raw());
  launch<&device::read_codes>(y, a);
  return y;
}

BackwardFn device_chain_backward(const Chain& chain, std::shared_ptr<const DeviceStep> step) {
  const Layer layer{chain.conv != nullptr,
                    chain.conv != nullptr ? chain.conv->options() : Conv2dOptions(),
                    chain.pool != nullptr ? chain.pool->options() : Pool2dOptions()};
  return
      [layer, gradient = chain.gradient, step = std::move(step)](const Tensor& dy, GradSink& sink) {
        run_backward(layer, gradient.get(), *step, dy, sink);
      };
}

}  // namespace halftone
