#include "kernels/activation.h"
#include "kernels/codes_cuda.h"
#include "kernels/device_call.h"
#include "kernels/elementwise.h"
#include "kernels/quantize.h"
#include "quant/chain_step.h"
#include "quant/device_chain.h"
#include "quant/fold.h"
#include "quant/weight_batch.h"

namespace halftone {
namespace {

// x as codes, quantized here where the chain owns its input's quantizer (of codes on another grid:
// a table); x itself where that is not possible.
Variable input_codes(const Chain& chain, const Variable& x) {
  if (chain.input == nullptr || !chain.input->will_quantize()) return x;
  return (*chain.input)(x);
}

Variable result_of(const Chain& chain, const Variable& x, std::shared_ptr<ChainStep> step) {
  OpRecord record = record_of(chain, x, step->quantized);
  if (grad_enabled()) record.backward = chain_backward(chain, step);
  const Context& context = step->acc.context();
  if (step->quantized) {
    Tensor codes = Tensor::empty(context, step->acc.shape(), DType::kUInt8);
    kernels::epilogue_to_codes(step->acc, code_channels(*step), code_range(*step), codes);
    return make_result(std::move(record), Codes{std::move(codes), step->y});
  }
  Tensor y = Tensor::empty(context, step->acc.shape());
  kernels::epilogue_to_float(step->acc, step->channels, step->act_low, step->act_high, y);
  return make_result(std::move(record), std::move(y));
}

[[noreturn]] void throw_changed() {
  throw HALFTONE_ERROR("quantizer")
      .what_happened("the module tree changed after compress()")
      .fix("change the model first, then quantize it: build model and quantizer anew");
}

Variable run_in_floats(Chain& chain, const Variable& x) {
  if (chain.probe) chain.probe(x, false);
  return run_unfused(chain, x);
}

Variable run_fused(Chain& chain, const Variable& input) {
  chain.tree->check();
  chain.produced.reset();
  if (!chain.weight->will_quantize()) return run_in_floats(chain, input);
  Variable x = input_codes(chain, input);
  if (x.codes() == nullptr) return run_in_floats(chain, x);
  if (chain.conv != nullptr) x = chain.conv->padded(x);
  const std::optional<DeviceSums> stays = sums_on_device(chain, x);
  if (chain.weight->observes() && !(stays.has_value() && launch_observes(chain)))
    chain.weight->observe_values(weight_to_quantize(chain));
  if (chain.probe) chain.probe(x, true);
  if (stays.has_value()) {
    const Variable y = run_on_device(chain, x, *stays);
    chain.produced = y.watch();
    return y;
  }
  auto step = std::make_shared<ChainStep>(prepare_step(chain, x));
  if (chain.gradient != nullptr) step->gradient_noise = chain.gradient->draw();
  Variable y = result_of(chain, x, std::move(step));
  // Evaluation folds with the statistics that this step leaves: so does the range.
  if (chain.quantizes_folded() && chain.weight->observes())
    chain.weight->observe_values(weight_to_quantize(chain));
  chain.produced = y.watch();
  return y;
}

void check_not_empty(const Chain& chain, const Variable& x) {
  if (x.shape().numel() > 0) return;
  throw HALFTONE_ERROR("quantized layer")
      .at(chain.anchor->path())
      .expected("at least one value")
      .found("an empty batch");
}

// Of a member behind the anchor: what the anchor has computed goes through.
Executor pass_on(const ChainPtr& chain) {
  // Weak: the chain holds this member.
  return [weak = std::weak_ptr<Chain>(chain)](Module& self, const std::vector<Variable>& inputs) {
    const ChainPtr chain = weak.lock();
    if (chain == nullptr) throw_changed();
    chain->tree->check();
    const auto produced = chain->produced.lock();
    if (produced != nullptr && inputs.at(0).id() == produced.get()) return inputs[0];
    return &self == chain->norm.get() ? run_norm(*chain, self, inputs) : self.forward(inputs);
  };
}

void drop_on_device(const Codes& in, const Tensor& mask, float factor, Codes& out) {
  out.scale = Tensor::empty(in.scale.context(), in.scale.shape());
  kernels::scale(in.scale, factor, out.scale);
  kernels::cuda::DropCodesArgs a;
  a.numel = mask.numel();
  a.zero = static_cast<uint8_t>(in.params.zero_point);
  if (in.zero_point.defined()) a.zero_point = static_cast<const int32_t*>(in.zero_point.raw());
  a.codes = static_cast<const uint8_t*>(in.values.raw());
  a.mask = static_cast<const float*>(mask.raw());
  a.y = static_cast<uint8_t*>(out.values.raw());
  kernels::launch<&kernels::cuda::drop_codes>(mask, a);
}

// Codes times the mask of a dropout over ones: its values are 0 and 1 / (1 - p).
Variable drop_codes(const Variable& x, float p) {
  const Codes& in = *x.codes();
  const Context& context = x.context();
  Tensor mask = Tensor::empty(context, in.values.shape());
  kernels::dropout(Tensor::full(context, in.values.shape(), 1.0f), p, context.random().stream(),
                   mask);
  Codes out = in.with(Tensor::empty(context, in.values.shape(), DType::kUInt8));
  out.params.scale = in.params.scale * (1.0f / (1.0f - p));
  if (in.scale.defined()) {
    drop_on_device(in, mask, 1.0f / (1.0f - p), out);
  } else {
    kernels::drop_codes(in.values, mask, static_cast<uint8_t>(in.params.zero_point), out.values);
  }
  auto backward = [mask](const Tensor& dy, GradSink& sink) { kernels::mul(dy, mask, sink.out(0)); };
  return make_result({"dropout", {x}, std::move(backward)}, std::move(out));
}

}  // namespace

TreeWatch::TreeWatch(Module& root)
    : root_(&root),
      owner_(root.weak_from_this()),
      owned_(!owner_.expired()),
      version_(root.tree_version()),
      seen_(Module::newest_version()) {}

void TreeWatch::check() {
  const uint64_t now = Module::newest_version();
  if (now == seen_) return;
  if ((owned_ && owner_.expired()) || root_->tree_version() != version_) throw_changed();
  seen_ = now;
}

void install(const ChainPtr& chain) {
  chain->anchor->set_executor([chain](Module&, const std::vector<Variable>& inputs) {
    check_not_empty(*chain, inputs.at(0));
    return run_fused(*chain, inputs[0]);
  });
  if (chain->pool != nullptr) chain->pool->set_executor(pass_on(chain));
  if (chain->norm != nullptr) chain->norm->set_executor(pass_on(chain));
  if (chain->activation != nullptr) chain->activation->set_executor(pass_on(chain));
}

void install_unfused(const ChainPtr& chain) {
  chain->anchor->set_executor([chain](Module&, const std::vector<Variable>& inputs) {
    chain->tree->check();
    chain->produced.reset();
    check_not_empty(*chain, inputs.at(0));
    return run_in_floats(*chain, inputs[0]);
  });
  if (chain->norm != nullptr) chain->norm->set_executor(pass_on(chain));
}

void install_code_dropout(Module& model) {
  for (auto& [path, module] : model.named_modules()) {
    auto* dropout = dynamic_cast<Dropout*>(module);
    if (dropout == nullptr) continue;
    dropout->set_executor([dropout](Module& self, const std::vector<Variable>& inputs) {
      const bool drops = self.training() && dropout->p() > 0 && dropout->p() < 1;
      return drops && inputs.at(0).codes() != nullptr ? drop_codes(inputs[0], dropout->p())
                                                      : self.forward(inputs);
    });
  }
}

}  // namespace halftone
