#include "quant/fold.h"

#include <algorithm>
#include <cmath>

#include "kernels/batch_norm.h"
#include "kernels/parallel.h"

namespace halftone {
namespace {

int64_t row_length(const Tensor& w) { return w.numel() / w.dim(0); }

// y = w times a factor per row.
template <class T>
void scale_rows(const Tensor& w, const std::vector<T>& factors, Tensor& y) {
  const float* from = w.data<float>();
  float* to = y.data<float>();
  const int64_t n = row_length(w);
  parallel_for(w.context(), w.dim(0), 1 + 16384 / (n + 1), [&, n](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t i = r * n; i < (r + 1) * n; ++i)
        to[i] = static_cast<float>(from[i] * factors[r]);
    }
  });
}

// The factors are constants of the gradient.
Variable scaled_rows(const Variable& w, const std::vector<double>& factors) {
  Tensor y = Tensor::empty(w.context(), w.shape());
  scale_rows(w.value(), factors, y);
  auto backward = [factors](const Tensor& dy, GradSink& sink) {
    scale_rows(dy, factors, sink.out(0));
  };
  return make_result({"scale_rows", {w}, std::move(backward)}, std::move(y));
}

std::vector<double> reciprocals(std::vector<double> values) {
  for (double& v : values) v = 1.0 / v;
  return values;
}

Variable bias_of(const Chain& chain) {
  return chain.bias().defined() ? chain.anchor->bias_transform()(chain.bias()) : chain.bias();
}

// x * (fq(W f) / f) + bias.
Variable run_scaled(Chain& chain, const Variable& x) {
  const std::vector<double> f = fold_factors(*chain.norm);
  const Variable in = chain.anchor->input_transform()(x);
  const Variable folded = chain.anchor->weight_transform()(scaled_rows(chain.weights(), f));
  const Variable w = scaled_rows(folded, reciprocals(f));
  return chain.anchor->gradient_transform()(chain.anchor->operate(in, w, bias_of(chain)));
}

constexpr double kDead = 0x1p-20;

// gamma / sigma_run.
std::vector<double> ratios(const BatchNorm& norm) {
  std::vector<double> out;
  for (int c = 0; c < norm.features(); ++c) {
    const double gamma = norm.weight.defined() ? norm.weight.value().data<float>()[c] : 1.0;
    const double variance = norm.running_var->data<float>()[c];
    out.push_back(gamma / std::sqrt(variance + static_cast<double>(norm.args().eps)));
  }
  return out;
}

// ---- NNI's fold, in its own float arithmetic ----

struct Constants {
  std::vector<float> mean, sigma, factor;  // gamma / sigma
};

Constants constants_of(const BatchNorm& norm) {
  Constants k;
  for (int c = 0; c < norm.features(); ++c) {
    const float gamma = norm.weight.defined() ? norm.weight.value().data<float>()[c] : 1.0f;
    k.mean.push_back(norm.running_mean->data<float>()[c]);
    k.sigma.push_back(std::sqrt(norm.running_var->data<float>()[c] + norm.args().eps));
    k.factor.push_back(gamma / k.sigma.back());
  }
  return k;
}

// W gamma / sigma; no gradient through sigma.
Variable folded_rows(const Variable& w, const Variable& gamma, const Constants& k) {
  Tensor y = Tensor::empty(w.context(), w.shape());
  scale_rows(w.value(), k.factor, y);
  auto backward = [value = w.value(), k](const Tensor& dy, GradSink& sink) {
    if (sink.needs(0)) scale_rows(dy, k.factor, sink.out(0));
    if (!sink.needs(1)) return;
    const int64_t n = row_length(value);
    for (int64_t r = 0; r < value.dim(0); ++r) {
      double sum = 0;
      for (int64_t i = r * n; i < (r + 1) * n; ++i) {
        sum +=
            static_cast<double>(dy.data<float>()[i]) * static_cast<double>(value.data<float>()[i]);
      }
      sink.out(1).data<float>()[r] = static_cast<float>(sum / static_cast<double>(k.sigma[r]));
    }
  };
  return make_result({"fold_weight", {w, gamma}, std::move(backward)}, std::move(y));
}

// beta + (bias - mean) gamma / sigma; no gradient through mean and sigma.
Variable folded_bias(const Variable& bias, const BatchNorm& norm, const Constants& k) {
  const int64_t n = norm.features();
  Tensor y = Tensor::empty(norm.context(), {n}), centred = Tensor::empty(norm.context(), {n});
  for (int64_t c = 0; c < n; ++c) {
    const float b = bias.defined() ? bias.value().data<float>()[c] : 0.0f;
    const float beta = norm.bias.defined() ? norm.bias.value().data<float>()[c] : 0.0f;
    centred.data<float>()[c] = b - k.mean[c];
    y.data<float>()[c] = beta + centred.data<float>()[c] * k.factor[c];
  }
  auto backward = [centred, k, n](const Tensor& dy, GradSink& sink) {
    for (int64_t c = 0; c < n; ++c) {
      const float g = dy.data<float>()[c];
      if (sink.needs(0)) sink.out(0).data<float>()[c] = g * k.factor[c];
      if (sink.needs(1)) sink.out(1).data<float>()[c] = g * (centred.data<float>()[c] / k.sigma[c]);
      if (sink.needs(2)) sink.out(2).data<float>()[c] = g;
    }
  };
  return make_result({"fold_bias", {bias, norm.weight, norm.bias}, std::move(backward)},
                     std::move(y));
}

// Running statistics from the raw weights (NNI takes those that it folded and quantized one step
// before, which makes them converge to the wrong values: nni_golden_test.cc).
Variable run_nni(Chain& chain, const Variable& x) {
  const Variable in = chain.anchor->input_transform()(x);
  if (chain.norm->training()) {
    const NoGrad no_grad;
    chain.norm->forward({chain.anchor->operate(in, chain.weights(), chain.bias())});
  }
  const Constants k = constants_of(*chain.norm);
  const Variable folded =
      chain.anchor->weight_transform()(folded_rows(chain.weights(), chain.norm->weight, k));
  const Variable bias = folded_bias(chain.bias(), *chain.norm, k);
  const Variable y = chain.anchor->gradient_transform()(chain.anchor->operate(in, folded, bias));
  chain.produced = y.watch();
  return y;
}

}  // namespace

std::vector<double> fold_factors(const BatchNorm& norm) {
  std::vector<double> factors = ratios(norm);
  double largest = 0;
  for (const double f : factors) largest = std::max(largest, std::fabs(f));
  const double stand_in = largest >= kDead ? largest : 1.0;
  for (double& f : factors) f = std::fabs(f) >= kDead ? f : f < 0 ? -stand_in : stand_in;
  return factors;
}

Tensor weight_to_quantize(const Chain& chain) {
  const Tensor& raw = chain.weights().value();
  if (!chain.quantizes_folded()) return raw;
  Tensor y = Tensor::empty(raw.context(), raw.shape());
  if (chain.fold == FoldMode::kNni) {
    scale_rows(raw, constants_of(*chain.norm).factor, y);
  } else {
    scale_rows(raw, fold_factors(*chain.norm), y);
  }
  return y;
}

Tensor exported_weight(const Chain& chain) {
  Tensor w = weight_to_quantize(chain);
  if (!chain.quantizes_folded() || chain.fold == FoldMode::kNni) return w;
  const std::vector<double> factors = ratios(*chain.norm);
  const int64_t n = row_length(w);
  for (int64_t c = 0; c < w.dim(0); ++c) {
    if (std::fabs(factors[c]) < kDead) std::fill_n(w.data<float>() + c * n, n, 0.0f);
  }
  return w;
}

FoldedLayer fold_layer(const Chain& chain, const Tensor& w) {
  const BatchNorm& norm = *chain.norm;
  FoldedLayer out{Tensor::empty(w.context(), w.shape()), Tensor::empty(w.context(), {w.dim(0)})};
  const std::vector<double> ratio = ratios(norm);
  for (int c = 0; c < norm.features(); ++c) {
    const auto at = [c](const Variable& v, double none) {
      return v.defined() ? static_cast<double>(v.value().data<float>()[c]) : none;
    };
    const double mean = norm.running_mean->data<float>()[c];
    out.bias.data<float>()[c] =
        static_cast<float>(at(norm.bias, 0) + ratio[c] * (at(chain.bias(), 0) - mean));
  }
  scale_rows(w, ratio, out.weight);
  return out;
}

NormStatistics statistics_of(const Chain& chain) {
  // Re-estimation runs batch norm in training and the quantizers in evaluation.
  if (!chain.weight->training()) return NormStatistics::kBatch;
  const int64_t freeze = chain.weight->spec().bn_freeze_step;
  if (freeze > 0 && chain.weight->steps() >= freeze) return NormStatistics::kFrozen;
  const bool ema = chain.fold == FoldMode::kEma && chain.weight->will_quantize();
  return ema ? NormStatistics::kRunning : NormStatistics::kBatch;
}

Variable run_unfused(Chain& chain, const Variable& x) {
  if (!chain.quantizes_folded() || !chain.weight->will_quantize())
    return chain.anchor->forward({x});
  chain.norm->statistics = statistics_of(chain);
  return chain.fold == FoldMode::kNni ? run_nni(chain, x) : run_scaled(chain, x);
}

Variable run_norm(Chain& chain, Module& norm, const std::vector<Variable>& inputs) {
  chain.norm->statistics = statistics_of(chain);
  Variable y = norm.forward(inputs);
  // Evaluation folds with the statistics that this step leaves: so does the range.
  if (chain.quantizes_folded() && chain.weight->observes())
    chain.weight->observe_values(weight_to_quantize(chain));
  return y;
}

}  // namespace halftone
