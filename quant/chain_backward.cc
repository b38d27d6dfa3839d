#include "kernels/column_sums.h"
#include "kernels/conv.h"
#include "kernels/elementwise.h"
#include "kernels/integer/chain_math.h"
#include "kernels/matmul.h"
#include "kernels/pool.h"
#include "quant/chain_step.h"
#include "quant/host_values.h"

// y = clamp(u), u = gamma (v - mean) / sigma + beta, v = s_x s_w sum (q_x - z_x) q_w + bias. With g
// = dy where the clamp and the code range pass, xhat = (v - mean) / sigma and M values per channel:
//   dbeta = sum g, dgamma = sum g xhat, dv = gamma / sigma (g - (dbeta + xhat dgamma) / M)
// with batch statistics (Ioffe and Szegedy 2015), dv = gamma / sigma g with running ones, dv = g
// without norm.

namespace halftone {
namespace {

// Order of the inputs of a chain's node. What the weight's quantizer learns comes next, then what
// the output's does.
enum Input : size_t { kX, kWeight, kBias, kGamma, kBeta, kLearned };

struct Coefficients {
  kernels::GradientCoefficients table;
  std::vector<double> dgamma, dbeta, dbias;
};

// What xhat is made of: xhat = step * (acc - centre).
struct Normalised {
  std::vector<float> centre;
  std::vector<double> step;
};

Normalised normalised(const ChainStep& s, const std::vector<double>& running_centre) {
  Normalised n;
  for (int64_t c = 0; c < s.out_channels(); ++c) {
    const double centre = s.batch_statistics       ? s.statistics.mean(c)
                          : running_centre.empty() ? 0.0
                                                   : running_centre[c] / s.acc_scale[c];
    n.centre.push_back(static_cast<float>(centre));
    n.step.push_back(s.acc_scale[c] / s.folded[c].sigma);
  }
  return n;
}

Coefficients coefficients(const ChainStep& s, const Normalised& n,
                          const kernels::GradientSums& sums) {
  Coefficients k;
  k.table.centre = n.centre;
  const double count = static_cast<double>(s.statistics.count);
  for (int64_t c = 0; c < s.out_channels(); ++c) {
    const quant_math::Normalised own{n.step[c], s.folded[c].ratio, n.centre[c]};
    const quant_math::ChannelGradient g = quant_math::channel_gradient(
        own, sums.sum[c], sums.sum_centred[c], s.batch_statistics, count);
    k.dbeta.push_back(g.dbeta);
    k.dgamma.push_back(g.dgamma);
    k.dbias.push_back(g.dbias);
    k.table.a.push_back(g.a);
    k.table.b.push_back(g.b);
    k.table.d.push_back(g.d);
  }
  return k;
}

// Of the weights that the forward used, by output channel.
std::vector<float> weight_scales(const ChainStep& s) {
  std::vector<float> scales;
  for (const double unit : s.acc_scale) {
    scales.push_back(static_cast<float>(unit / static_cast<double>(s.x.params.scale)));
  }
  return scales;
}

// Those weights as reals: codes times `scales`.
Tensor dequantized_weights(const ChainStep& s, const std::vector<float>& scales) {
  Tensor w = Tensor::empty(s.weight.context(), s.weight.shape());
  kernels::weights_to_reals(s.weight_codes, scales, s.weight_options.offsets, w);
  return w;
}

struct Layer {
  bool is_conv;
  Conv2dOptions options;
  Pool2dOptions pool;

  void backward_data(const Tensor& dv, const Tensor& w, Tensor& dx) const {
    is_conv ? kernels::conv2d_backward_data(dv, w, options, dx)
            : kernels::linear_backward_data(dv, w, dx);
  }
  void backward_weight(const Tensor& x, const Tensor& dv, Tensor& dw) const {
    is_conv ? kernels::conv2d_backward_weight(x, dv, options, dw, nullptr)
            : kernels::linear_backward_weight(x, dv, dw, nullptr);
  }
};

bool needs_weight(const ChainStep& s, const GradSink& sink) {
  bool needs = sink.needs(kWeight);
  for (size_t i = 0; i < s.learned_of_weight; ++i) needs = needs || sink.needs(kLearned + i);
  return needs;
}

// The gradient of the quantized weight as a real, s_x * (integers of x) * dv, through its
// quantizer. `scaled_by`: dv holds each output channel times this, or empty.
void weight_gradient(const Layer& layer, const ChainStep& s, const Tensor& dv,
                     const std::vector<float>& scaled_by, GradSink& sink) {
  Tensor integers = Tensor::empty(dv.context(), s.x.values.shape());
  kernels::codes_to_integers(s.x.values, s.x.params.zero_point, integers);
  Tensor raw = Tensor::empty(dv.context(), s.weight.shape());
  layer.backward_weight(integers, dv, raw);
  if (scaled_by.empty()) {
    kernels::scale(raw, s.x.params.scale, raw);
  } else {
    std::vector<float> factors;
    for (const float by : scaled_by) factors.push_back(s.x.params.scale / by);
    kernels::scale_channels(raw, 0, factors, raw);
  }
  s.weight_gradient(raw, s.weight, sink, kWeight, kLearned);
}

// What a learned output grid's sums run over; its edges are the activation's and the range's.
std::optional<kernels::LearnedOutput> learned_output(const ChainStep& s) {
  if (!s.learned.has_value()) return std::nullopt;
  return kernels::LearnedOutput{s.act_low / s.y.scale, s.act_high / s.y.scale, s.learned->rule};
}

void write_learned(const ChainStep& s, const kernels::GradientSums& sums, GradSink& sink) {
  if (!s.learned.has_value()) return;
  const size_t at = kLearned + s.learned_of_weight;
  if (sink.needs(at)) sink.out(at).fill(static_cast<float>(s.learned->factor * sums.scale));
  if (s.learned->has_offset && sink.needs(at + 1))
    sink.out(at + 1).fill(static_cast<float>(s.learned->factor * sums.offset));
}

void run_backward(const Layer& layer, const DorefaGradient* gradient, const ChainStep& s,
                  const std::vector<double>& running_centre, const Tensor& dy, GradSink& sink) {
  const Normalised n = normalised(s, running_centre);
  const auto learned = learned_output(s);
  const auto sums = kernels::epilogue_backward_sums(dy, s.acc, s.channels, s.pass, n.centre,
                                                    learned.has_value() ? &*learned : nullptr);
  write_learned(s, sums, sink);
  const Coefficients k = coefficients(s, n, sums);
  if (sink.needs(kBias)) assign(k.dbias, sink.out(kBias));
  if (sink.needs(kGamma)) assign(k.dgamma, sink.out(kGamma));
  if (sink.needs(kBeta)) assign(k.dbeta, sink.out(kBeta));
  const bool quantizes = s.gradient_noise.has_value();
  const bool needs_dv = quantizes && sink.needs(kBias);
  if (!needs_dv && !sink.needs(kX) && !needs_weight(s, sink)) return;
  // In place where nobody else sees dy, which is used up here.
  Tensor dv = dy.unique() ? dy : Tensor::empty(dy.context(), s.acc.shape());
  kernels::epilogue_backward_apply(dy, s.acc, s.channels, s.pass, k.table, dv);
  if (s.pool_taps.defined()) {
    Tensor spread = Tensor::empty(dy.context(), s.conv_shape);
    kernels::max_pool2d_backward(dv, Tensor(), s.pool_taps, layer.pool, spread);
    dv = std::move(spread);
  }
  if (quantizes) gradient->quantize_gradient(dv, *s.gradient_noise, dv);
  // Under the batch's statistics a bias cancels, and k.dbias is 0.
  if (needs_dv && !s.batch_statistics) kernels::column_sums(dv, sink.out(kBias));
  std::vector<float> scales = weight_scales(s);
  // A device's products round reals.
  if (!dy.context().on_cpu() || dy.context().backward_math() == DeviceMath::kFloat32) {
    if (sink.needs(kX)) layer.backward_data(dv, dequantized_weights(s, scales), sink.out(kX));
    if (needs_weight(s, sink)) weight_gradient(layer, s, dv, {}, sink);
    return;
  }
  // Codes are exact in bfloat16, codes times scales are not: the scale goes into the gradient, once
  // for both products.
  const int channels = dv.rank() - 1;
  kernels::scale_channels(dv, channels, scales, dv);
  if (sink.needs(kX)) {
    const std::vector<float> ones(scales.size(), 1.0f);
    layer.backward_data(dv, dequantized_weights(s, ones), sink.out(kX));
  }
  if (needs_weight(s, sink)) weight_gradient(layer, s, dv, scales, sink);
}

}  // namespace

BackwardFn chain_backward(const Chain& chain, std::shared_ptr<const ChainStep> step) {
  const Layer layer{chain.conv != nullptr,
                    chain.conv != nullptr ? chain.conv->options() : Conv2dOptions(),
                    chain.pool != nullptr ? chain.pool->options() : Pool2dOptions()};
  // running mean - bias, as a real: where xhat is 0 in evaluation.
  std::vector<double> running_centre;
  if (chain.norm != nullptr && !step->batch_statistics) {
    const Tensor mean = at_home(*chain.norm->running_mean);
    const Tensor bias = chain.bias().defined() ? at_home(chain.bias().value()) : Tensor();
    for (int64_t c = 0; c < step->out_channels(); ++c) {
      running_centre.push_back(static_cast<double>(mean.data<float>()[c]) -
                               (bias.defined() ? static_cast<double>(bias.data<float>()[c]) : 0.0));
    }
  }
  return [layer, gradient = chain.gradient, step = std::move(step), running_centre](
             const Tensor& dy, GradSink& sink) {
    run_backward(layer, gradient.get(), *step, running_centre, dy, sink);
  };
}

}  // namespace halftone
