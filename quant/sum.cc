#include "quant/sum.h"

#include <cmath>

#include "quant/device_sum.h"
#include "quant/range_quantize.h"

namespace halftone {
namespace {

constexpr float kFar = 1 << 20;  // steps, past every sum of two codes

int32_t whole(float steps) { return static_cast<int32_t>(std::min(std::max(steps, -kFar), kFar)); }

// Codes of the scale that the output has; nothing else.
std::optional<Codes> fitting(const Variable& x, float scale) {
  if (x.codes() == nullptr) return std::nullopt;
  Codes codes = known(*x.codes());
  if (codes.params.scale != scale) return std::nullopt;
  return codes;
}

// A learned scale has been found before there were codes to add.
void observe(Sum& sum, const kernels::SumRange& t, float scale) {
  auto* range_only = dynamic_cast<RangeQuantize*>(sum.output.get());
  if (range_only == nullptr || !sum.output->observes()) return;
  const ActivationBounds act = bounds_of(sum.activation.get());
  const auto real = [&](int32_t steps) {
    return std::min(std::max(scale * static_cast<float>(steps), act.low), act.high);
  };
  range_only->observe({{real(t.low), real(t.high)}});
}

// The sums themselves, in reals, behind the activation.
void show(const Sum& sum, const Codes& a_codes, const Codes& b_codes) {
  const Context& context = a_codes.values.context();
  const Codes a{a_codes.values.to(context.host()), a_codes.params};
  const Codes b{b_codes.values.to(context.host()), b_codes.params};
  Tensor y = Tensor::empty(context.host(), a.values.shape());
  const ActivationBounds act = bounds_of(sum.activation.get());
  const int32_t zero = a.params.zero_point + b.params.zero_point;
  for (int64_t i = 0; i < y.numel(); ++i) {
    const int32_t steps = a.values.data<uint8_t>()[i] + b.values.data<uint8_t>()[i] - zero;
    const float real = a.params.scale * static_cast<float>(steps);
    y.data<float>()[i] = std::min(std::max(real, act.low), act.high);
  }
  sum.output->show(y.to(context));
}

// dt to both inputs, and the gradient of a learned scale.
BackwardFn sum_backward(const Sum& sum, const Codes& a, const Codes& b,
                        const kernels::CodeSum& rule) {
  const Shape& shape = a.values.shape();
  const auto learned = sum.output->learned_grid(shape);
  const double factor = learned.has_value() ? learned->factor : 0;
  std::vector<float> shares;
  if (learned.has_value()) {
    const ActivationBounds act = bounds_of(sum.activation.get());
    shares =
        scale_shares(rule, {act.low / a.params.scale, act.high / a.params.scale}, learned->rule);
  }
  return [qa = a.values, qb = b.values, rule, factor, shares = std::move(shares)](const Tensor& dy,
                                                                                  GradSink& sink) {
    Tensor dt = Tensor::empty(dy.context(), dy.shape());
    kernels::add_codes_backward(dy, qa, qb, rule, dt);
    sink.put(0, dt);
    sink.put(1, dt);
    if (shares.empty() || !sink.needs(2)) return;
    const double ds = kernels::add_codes_weighted_sum(dy, qa, qb, shares);
    sink.out(2).fill(static_cast<float>(factor * ds));
  };
}

Variable run_sum(Sum& sum, const std::vector<Variable>& inputs) {
  sum.tree->check();
  sum.produced.reset();
  if (runs_on_device(sum, inputs)) {
    const Variable result = run_on_device(sum, inputs);
    sum.produced = result.watch();
    return result;
  }
  const FakeQuantize& output = *sum.output;
  const bool ready = inputs.size() == 2 && output.will_quantize() && output.initialised() &&
                     inputs[0].shape() == inputs[1].shape();
  if (!ready) return sum.add->forward(inputs);
  const QuantParams y = output.params();
  const std::optional<Codes> a = fitting(inputs[0], y.scale), b = fitting(inputs[1], y.scale);
  if (!a || !b) return sum.add->forward(inputs);
  if (output.watched()) show(sum, *a, *b);
  const kernels::CodeSum rule = sum_rule(sum, a->params, b->params, y);
  Tensor codes = Tensor::empty(inputs[0].context(), inputs[0].shape(), DType::kUInt8);
  const kernels::SumRange range = kernels::add_codes(a->values, b->values, rule, codes);
  if (codes.numel() > 0) observe(sum, range, y.scale);
  OpRecord record{"quant_add", inputs, {}};
  for (const Variable& v : output.learned()) record.inputs.push_back(v);
  if (grad_enabled()) record.backward = sum_backward(sum, *a, *b, rule);
  const Variable result = make_result(std::move(record), Codes{std::move(codes), y});
  sum.produced = result.watch();
  return result;
}

}  // namespace

std::vector<float> scale_shares(const kernels::CodeSum& rule, const ActivationBounds& act,
                                const quant_math::LsqRule& learned) {
  quant_math::LsqRule in_steps = learned;
  in_steps.scale = 1;
  std::vector<float> shares;
  for (int32_t q = 0; q < kernels::kCodeSums; ++q) {
    const float t = static_cast<float>(q - rule.a_zero - rule.b_zero);
    const float v = std::min(std::max(t, act.low), act.high);
    shares.push_back(quant_math::lsq_share(v, in_steps, quant_math::LsqEdge::kPaper).scale);
  }
  return shares;
}

Module& Sum::tail() const {
  if (activation != nullptr) return *activation;
  return *add;
}

kernels::CodeSum sum_rule(const Sum& sum, const QuantParams& a, const QuantParams& b,
                          const QuantParams& y) {
  return sum_rule(sum, a, b, y, sum.output->pass());
}

kernels::CodeSum sum_rule(const Sum& sum, const QuantParams& a, const QuantParams& b,
                          const QuantParams& y, const quant_math::Pass& pass) {
  kernels::CodeSum r{a.zero_point, b.zero_point, y.zero_point};
  const ActivationBounds act = bounds_of(sum.activation.get());
  const int32_t low = y.qmin - y.zero_point, high = y.qmax - y.zero_point;
  r.low = std::max(low, whole(std::rint(act.low / y.scale)));
  r.high = std::max(r.low, std::min(high, whole(std::rint(act.high / y.scale))));
  const float under = std::max(act.low / y.scale, pass.act_low);
  const float over = std::min(act.high / y.scale, pass.act_high);
  r.pass_low = std::max(low, whole(std::floor(under)) + 1);
  r.pass_high = std::min(high, whole(std::ceil(over)) - 1);
  return r;
}

SumPtr find_sum(Module& model, const Graph& graph, Add& add) {
  auto sum = std::make_shared<Sum>();
  sum->add = &add;
  const int consumer = graph.only_consumer(graph.only_node(add.path()));
  if (add.output_transform() || consumer < 0) return sum;
  const std::string& path = graph.nodes()[consumer].module_path;
  auto* layer = dynamic_cast<ActivationLayer*>(model.find(path));
  if (layer == nullptr || graph.only_node(path) < 0 || !is_clamp(layer->options().kind)) return sum;
  sum->activation = std::dynamic_pointer_cast<ActivationLayer>(layer->weak_from_this().lock());
  return sum;
}

void install(const SumPtr& sum) {
  sum->add->set_executor(
      [sum](Module&, const std::vector<Variable>& inputs) { return run_sum(*sum, inputs); });
  if (sum->activation == nullptr) return;
  // Weak: the sum holds the activation.
  sum->activation->set_executor(
      [weak = std::weak_ptr<Sum>(sum)](Module& self, const std::vector<Variable>& inputs) {
        const SumPtr sum = weak.lock();
        const auto produced = sum == nullptr ? nullptr : sum->produced.lock();
        const bool done = produced != nullptr && inputs.at(0).id() == produced.get();
        return done ? inputs[0] : self.forward(inputs);
      });
}

}  // namespace halftone
