// Quantizer::fold_report and reestimate_statistics.
#include <algorithm>
#include <cmath>
#include <functional>

#include "quant/chain_step.h"
#include "quant/fold.h"
#include "quant/host_values.h"
#include "quant/quantizer.h"

namespace halftone {
namespace {

// Runs when a scope ends, by an error too.
class AtEnd {
 public:
  explicit AtEnd(std::function<void()> work) : work_(std::move(work)) {}
  ~AtEnd() { work_(); }
  AtEnd(const AtEnd&) = delete;
  AtEnd& operator=(const AtEnd&) = delete;

 private:
  std::function<void()> work_;
};

void compare(double apart, double folded, FoldReport& report) {
  report.difference = std::max(report.difference, static_cast<float>(std::fabs(apart - folded)));
  report.magnitude = std::max(report.magnitude, static_cast<float>(std::fabs(apart)));
}

// Batch norm in double on the exact accumulator, beside the epilogue's int32 bias and float steps.
void compare_codes(Chain& chain, const Variable& x, FoldReport& report) {
  const ChainStep s = prepare_step(chain, x);
  const float unit = s.quantized ? s.y.scale : 1.0f;
  const int64_t channels = s.out_channels();
  const Tensor sums = at_home(s.acc);
  for (int64_t i = 0; i < sums.numel(); ++i) {
    const int64_t c = i % channels;
    const int32_t acc = sums.data<int32_t>()[i];
    const quant_math::Channel& k = s.channels[c];
    const double apart = s.folded[c].offset + s.folded[c].ratio * s.acc_scale[c] * acc;
    compare(apart, unit * quant_math::scaled(acc, k.keep, k.bias, k.multiplier), report);
  }
}

// The same on dequantized values: W Q and W Q gamma / sigma.
void compare_floats(const Chain& chain, const Variable& x, FoldReport& report) {
  const Variable in = chain.anchor->input_transform()(x);
  const Variable q = chain.anchor->weight_transform()(Variable(weight_to_quantize(chain)));
  Tensor raw = q.value();
  if (chain.quantizes_folded()) {
    const std::vector<double> f = fold_factors(*chain.norm);
    Tensor values = at_home(raw.clone());
    const int64_t length = raw.numel() / raw.dim(0);
    for (int64_t i = 0; i < raw.numel(); ++i)
      values.data<float>()[i] = static_cast<float>(values.data<float>()[i] / f[i / length]);
    raw = values.to(raw.context());
  }
  const FoldedLayer folded = fold_layer(chain, raw);
  const Tensor apart = at_home(
      chain.norm->forward({chain.anchor->operate(in, Variable(raw), chain.bias())}).value());
  const Tensor together =
      at_home(chain.anchor->operate(in, Variable(folded.weight), Variable(folded.bias)).value());
  for (int64_t i = 0; i < apart.numel(); ++i)
    compare(apart.data<float>()[i], together.data<float>()[i], report);
}

}  // namespace

std::vector<FoldReport> Quantizer::fold_report(const Tensor& batch) const {
  check_tree("fold_report");
  const EvaluationMode evaluation(model_);
  const NoGrad no_grad;
  std::vector<ChainPtr> all = chains_;
  all.insert(all.end(), folds_.begin(), folds_.end());
  std::vector<FoldReport> reports(all.size());
  const AtEnd no_probes([&all] {
    for (const ChainPtr& chain : all) chain->probe = nullptr;
  });
  for (size_t i = 0; i < all.size(); ++i) {
    Chain& chain = *all[i];
    if (chain.norm == nullptr) continue;
    FoldReport& report = reports[i];
    report.norm = chain.norm->path();
    chain.probe = [&chain, &report](const Variable& x, bool on_codes) {
      report.layer = chain.anchor->path();
      report.fold = chain.fold;
      on_codes ? compare_codes(chain, x, report) : compare_floats(chain, x, report);
    };
  }
  model_(Variable(batch));
  reports.erase(std::remove_if(reports.begin(), reports.end(),
                               [](const FoldReport& r) { return r.layer.empty(); }),
                reports.end());
  return reports;
}

void Quantizer::reestimate_statistics(const std::vector<Tensor>& batches) const {
  check_tree("reestimate_statistics");
  if (batches.empty())
    throw HALFTONE_ERROR("reestimate_statistics").expected("at least one batch").found("none");
  const EvaluationMode evaluation(model_);
  const NoGrad no_grad;
  std::vector<std::pair<BatchNorm*, float>> norms;
  const AtEnd own_momentum([&norms] {
    for (auto& [norm, momentum] : norms) norm->set_momentum(momentum);
  });
  for (auto& [path, module] : model_.named_modules()) {
    auto* norm = dynamic_cast<BatchNorm*>(module);
    if (norm == nullptr) continue;
    norms.emplace_back(norm, norm->args().momentum);
    norm->statistics = NormStatistics::kBatch;
    norm->train();
  }
  for (size_t k = 0; k < batches.size(); ++k) {
    for (auto& [norm, momentum] : norms) norm->set_momentum(1.0f / static_cast<float>(k + 1));
    model_(Variable(batches[k]));
    // Folded weights have moved with the statistics, and so has their range.
    for (const auto* list : {&chains_, &folds_}) {
      for (const ChainPtr& chain : *list) {
        const bool ranged = chain->weight->learned().empty();  // learned scales stay
        if (chain->quantizes_folded() && chain->weight->initialised() && ranged)
          chain->weight->observe_values(weight_to_quantize(*chain));
      }
    }
  }
}

}  // namespace halftone
