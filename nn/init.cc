#include "nn/init.h"

#include <cmath>

#include "kernels/parallel.h"
#include "nn/layers.h"
#include "tensor/nearest.h"

namespace halftone::init {
namespace {

constexpr int64_t kGrain = 1 << 12;  // elements per thread at least

double fan_of(const Shape& weight, FanMode mode) {
  const Fans f = fans(weight);
  return static_cast<double>(mode == FanMode::kFanIn ? f.in : f.out);
}

double gain(double a) { return std::sqrt(2.0 / (1.0 + a * a)); }

template <class Value>
void fill(Tensor& t, Value value) {
  const Context& context = t.context();
  const Philox stream = context.random().stream();
  Tensor values = context.on_cpu() ? t : Tensor::empty(context.host(), t.shape());
  float* data = values.data<float>();
  parallel_for(values.context(), t.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) data[i] = value(stream, static_cast<uint64_t>(i));
  });
  if (!context.on_cpu()) t.copy_from(values);
}

using Rule = void (*)(Tensor& weight);
const std::vector<std::pair<std::string, Rule>>& rules() {
  static const std::vector<std::pair<std::string, Rule>> all = {
      {"kaiming_uniform", [](Tensor& w) { kaiming_uniform(w); }},
      {"kaiming_normal", [](Tensor& w) { kaiming_normal(w); }},
      {"xavier_uniform", [](Tensor& w) { xavier_uniform(w); }},
      {"xavier_normal", [](Tensor& w) { xavier_normal(w); }},
  };
  return all;
}

void apply_to(Variable& weight, Variable& bias, Rule rule) {
  if (rule == nullptr) {
    torch_default(weight.mutable_value(), bias.defined() ? &bias.mutable_value() : nullptr);
    return;
  }
  rule(weight.mutable_value());
  if (bias.defined()) bias.mutable_value().fill(0.0f);
}

Rule find_rule(const std::string& name) {
  if (name == "default") return nullptr;
  for (const auto& [known, rule] : rules()) {
    if (known == name) return rule;
  }
  throw_unknown_name("init", name, names());
}

}  // namespace

Fans fans(const Shape& weight) {
  if (weight.rank() == 2) return {weight[1], weight[0]};
  if (weight.rank() == 4) {
    const int64_t field = weight[1] * weight[2];
    return {weight[3] * field, weight[0] * field};
  }
  throw HALFTONE_ERROR("init").expected("a weight of 2 or 4 axes").found(weight.str());
}

void uniform(Tensor& t, float low, float high) {
  fill(t, [=](const Philox& s, uint64_t i) { return low + (high - low) * s.uniform(i); });
}

void normal(Tensor& t, float mean, float deviation) {
  fill(t, [=](const Philox& s, uint64_t i) { return mean + deviation * s.normal(i); });
}

void kaiming_uniform(Tensor& weight, double a, FanMode mode) {
  const auto bound = static_cast<float>(gain(a) * std::sqrt(3.0 / fan_of(weight.shape(), mode)));
  uniform(weight, -bound, bound);
}

void kaiming_normal(Tensor& weight, double a, FanMode mode) {
  normal(weight, 0.0f, static_cast<float>(gain(a) / std::sqrt(fan_of(weight.shape(), mode))));
}

void xavier_uniform(Tensor& weight) {
  const Fans f = fans(weight.shape());
  const auto bound = static_cast<float>(std::sqrt(6.0 / static_cast<double>(f.in + f.out)));
  uniform(weight, -bound, bound);
}

void xavier_normal(Tensor& weight) {
  const Fans f = fans(weight.shape());
  normal(weight, 0.0f, static_cast<float>(std::sqrt(2.0 / static_cast<double>(f.in + f.out))));
}

void torch_default(Tensor& weight, Tensor* bias) {
  kaiming_uniform(weight, std::sqrt(5.0));
  if (bias == nullptr) return;
  const auto bound =
      static_cast<float>(1.0 / std::sqrt(static_cast<double>(fans(weight.shape()).in)));
  uniform(*bias, -bound, bound);
}

std::vector<std::string> names() {
  std::vector<std::string> all = {"default"};
  for (const auto& [name, rule] : rules()) all.push_back(name);
  return all;
}

void apply(Module& model, const std::string& name) {
  const Rule rule = find_rule(name);
  for (auto& [path, module] : model.named_modules()) {
    if (auto* layer = dynamic_cast<WeightLayer*>(module))
      apply_to(layer->weight, layer->bias, rule);
  }
}

}  // namespace halftone::init
