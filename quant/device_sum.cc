#include "quant/device_sum.h"

#include <cmath>

#include "kernels/chain_cuda.h"
#include "kernels/codes_cuda.h"
#include "kernels/device_call.h"
#include "quant/range_quantize.h"

namespace halftone {
namespace {

namespace device = kernels::cuda;
using kernels::launch;

// Codes on the grid of the output, but for the zero point.
bool fits(const Variable& x, const GridTensors& grid) {
  const Codes* codes = x.codes();
  return codes != nullptr && codes->scale.defined() && codes->scale.raw() == grid.scale.raw() &&
         !codes->zero_point.defined();
}

// The same in steps as in reals.
bool has_no_steps(float bound) { return bound == 0.0f || std::isinf(bound); }

// The output's grid as it is stored, but for the scale, of which nothing here depends.
struct Steps {
  explicit Steps(const Sum& sum) {
    const GridTensors g = *sum.output->grid_tensors();
    params = {1.0f, g.up, g.qmin + g.up, g.qmax + g.up};
    const quant_math::Grid stored{1.0f, params.zero_point, params.qmin, params.qmax};
    const ActivationBounds act = bounds_of(sum.activation.get());
    quant_math::OutputRule rule;
    rule.act_low = act.low, rule.act_high = act.high;
    rule.pass = sum.output->pass_rule();
    output = quant_math::output_grid(stored, g.up, rule);
  }
  QuantParams params;
  quant_math::OutputGrid output;
};

void observe(const Sum& sum, const device::ObserveSumArgs& args, const Tensor& on) {
  auto* range = dynamic_cast<RangeQuantize*>(sum.output.get());
  if (range == nullptr || !range->observes() || range->follows()) return;
  device::ObserveSumArgs a = args;
  const ActivationBounds act = bounds_of(sum.activation.get());
  a.act_low = act.low, a.act_high = act.high;
  a.track = range->tracking();
  launch<&device::observe_sum>(on, a);
  range->tracked();
}

const uint8_t* bytes(const Tensor& codes) { return static_cast<const uint8_t*>(codes.raw()); }

// dt to both inputs, and the gradient of a learned scale.
BackwardFn backward(const Sum& sum, const Tensor& qa, const Tensor& qb,
                    const kernels::CodeSum& rule) {
  const auto learned = sum.output->learned_grid(qa.shape());
  return [qa, qb, rule, shares = sum.shares, factor = learned.has_value() ? learned->factor : 0.0](
             const Tensor& dy, GradSink& sink) {
    Tensor dt = Tensor::empty(dy.context(), dy.shape());
    kernels::add_codes_backward(dy, qa, qb, rule, dt);
    sink.put(0, dt);
    sink.put(1, dt);
    if (!shares.defined() || !sink.needs(2)) return;
    kernels::DeviceRoom<double> total(dy.context(), 1);
    launch<&device::weighted_codes>(
        dy, device::WeightedCodesArgs{dy.numel(), static_cast<const float*>(dy.raw()), bytes(qa),
                                      bytes(qb), static_cast<const float*>(shares.raw()),
                                      total.data()});
    launch<&device::write_scaled>(
        dy, device::WriteScaledArgs{total.data(), factor, static_cast<float*>(sink.out(2).raw())});
  };
}

// Once: nothing in them changes.
void find_shares(Sum& sum, const Context& context, const kernels::CodeSum& rule,
                 const Steps& steps) {
  if (sum.shares.defined() || sum.output->learned().empty()) return;
  const std::vector<float> shares =
      scale_shares(rule, {steps.output.act_low, steps.output.act_high}, steps.output.rule);
  sum.shares = Tensor::from(context.host(), {kernels::kCodeSums}, shares).to(context);
}

}  // namespace

bool runs_on_device(const Sum& sum, const std::vector<Variable>& inputs) {
  const FakeQuantize& output = *sum.output;
  if (inputs.size() != 2 || inputs[0].context().on_cpu()) return false;
  if (!output.will_quantize() || !output.stays_on_device()) return false;
  const GridTensors grid = *output.grid_tensors();
  const ActivationBounds act = bounds_of(sum.activation.get());
  return inputs[0].shape() == inputs[1].shape() && fits(inputs[0], grid) && fits(inputs[1], grid) &&
         !grid.zero_point.defined() && !grid.offset.defined() && has_no_steps(act.low) &&
         has_no_steps(act.high);
}

Variable run_on_device(Sum& sum, const std::vector<Variable>& inputs) {
  const Codes &a = *inputs[0].codes(), &b = *inputs[1].codes();
  const Context& context = inputs[0].context();
  const Steps steps(sum);
  const kernels::CodeSum rule = sum_rule(sum, a.params, b.params, steps.params, steps.output.pass);
  find_shares(sum, context, rule, steps);
  Codes y = sum.output->codes_on_device(inputs[0].shape());
  kernels::DeviceRoom<kernels::SumRange> range(context, 1);
  launch<&device::add_codes>(
      y.values, device::AddCodesArgs{y.values.numel(), rule, bytes(a.values), bytes(b.values),
                                     static_cast<uint8_t*>(y.values.raw()), range.data()});
  device::ObserveSumArgs seen;
  seen.range = range.data(), seen.scale = static_cast<const float*>(y.scale.raw());
  observe(sum, seen, y.values);
  OpRecord record{"quant_add", inputs, {}};
  for (const Variable& v : sum.output->learned()) record.inputs.push_back(v);
  if (grad_enabled()) record.backward = backward(sum, a.values, b.values, rule);
  return make_result(std::move(record), std::move(y));
}

}  // namespace halftone
