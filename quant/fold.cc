#include "quant/fold.h"

#include <algorithm>
#include <cmath>

#include "kernels/batch_norm.h"
#include "kernels/parallel.h"
#include "quant/host_values.h"

namespace halftone {
namespace {

int64_t row_length(const Tensor& w) { return w.numel() / w.dim(0); }

// `otherwise` where there is no such parameter.
std::vector<float> values_of(const Variable& v, int64_t count, float otherwise) {
  return v.defined() ? v.value().to_vector<float>() : std::vector<float>(count, otherwise);
}

// y = w times a factor per row; for a device by the host.
template <class T>
void scale_rows(const Tensor& w, const std::vector<T>& factors, Tensor& y) {
  if (!y.on_host()) {
    Tensor values = Tensor::empty(y.context().host(), y.shape());
    scale_rows(at_home(w), factors, values);
    return y.copy_from(values);
  }
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
  const std::vector<float> gammas = values_of(norm.weight, norm.features(), 1.0f);
  const std::vector<float> variances = norm.running_var->to_vector<float>();
  for (int c = 0; c < norm.features(); ++c) {
    const double gamma = gammas[c], variance = variances[c];
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
  k.mean = norm.running_mean->to_vector<float>();
  const std::vector<float> gamma = values_of(norm.weight, norm.features(), 1.0f);
  for (const float variance : norm.running_var->to_vector<float>()) {
    k.sigma.push_back(std::sqrt(variance + norm.args().eps));
    k.factor.push_back(gamma[k.factor.size()] / k.sigma.back());
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
    const Tensor up = at_home(dy), rows = at_home(value);
    std::vector<double> dgamma;
    for (int64_t r = 0; r < value.dim(0); ++r) {
      double sum = 0;
      for (int64_t i = r * n; i < (r + 1) * n; ++i) {
        sum +=
            static_cast<double>(up.data<float>()[i]) * static_cast<double>(rows.data<float>()[i]);
      }
      dgamma.push_back(sum / static_cast<double>(k.sigma[r]));
    }
    assign(dgamma, sink.out(1));
  };
  return make_result({"fold_weight", {w, gamma}, std::move(backward)}, std::move(y));
}

// beta + (bias - mean) gamma / sigma; no gradient through mean and sigma.
Variable folded_bias(const Variable& bias, const BatchNorm& norm, const Constants& k) {
  const int64_t n = norm.features();
  const std::vector<float> b = values_of(bias, n, 0.0f), beta = values_of(norm.bias, n, 0.0f);
  std::vector<float> values, centred;
  for (int64_t c = 0; c < n; ++c) {
    centred.push_back(b[c] - k.mean[c]);
    values.push_back(beta[c] + centred[c] * k.factor[c]);
  }
  Tensor y = Tensor::from(norm.context(), Shape{n}, values);
  auto backward = [centred, k, n](const Tensor& dy, GradSink& sink) {
    const std::vector<float> g = dy.to_vector<float>();
    std::vector<float> dbias, dgamma;
    for (int64_t c = 0; c < n; ++c) {
      dbias.push_back(g[c] * k.factor[c]);
      dgamma.push_back(g[c] * (centred[c] / k.sigma[c]));
    }
    if (sink.needs(0)) assign(dbias, sink.out(0));
    if (sink.needs(1)) assign(dgamma, sink.out(1));
    if (sink.needs(2)) sink.out(2).copy_from(dy);
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
  for (int64_t c = 0; c < w.dim(0); ++c) {
    if (std::fabs(factors[c]) < kDead) w.slice(c, c + 1).fill(0.0f);
  }
  return w;
}

FoldedLayer fold_layer(const Chain& chain, const Tensor& w) {
  const BatchNorm& norm = *chain.norm;
  FoldedLayer out{Tensor::empty(w.context(), w.shape()), Tensor::empty(w.context(), {w.dim(0)})};
  const std::vector<double> ratio = ratios(norm);
  const std::vector<float> bias = values_of(chain.bias(), norm.features(), 0.0f);
  const std::vector<float> beta = values_of(norm.bias, norm.features(), 0.0f);
  const std::vector<float> mean = norm.running_mean->to_vector<float>();
  std::vector<double> folded;
  for (int c = 0; c < norm.features(); ++c) {
    const double b = bias[c], m = mean[c];
    folded.push_back(static_cast<double>(beta[c]) + ratio[c] * (b - m));
  }
  assign(folded, out.bias);
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
