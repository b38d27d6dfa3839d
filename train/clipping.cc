#include "train/clipping.h"

#include "quant/fake_quantize.h"

namespace halftone {
namespace {

// Counts what reaches a quantizer, in its slot.
class ClipProbe : public Module {
 public:
  explicit ClipProbe(std::shared_ptr<FakeQuantize> quantizer)
      : Module(quantizer->context()), quantizer_(std::move(quantizer)) {}
  std::string type_name() const override { return "ClipProbe"; }
  Variable forward(const std::vector<Variable>& inputs) override {
    if (quantizer_->initialised()) {
      clipped_ += quantizer_->count_clipped(inputs.at(0).value());
      seen_ += inputs[0].value().numel();
    }
    return (*quantizer_)(inputs);
  }
  const FakeQuantize& quantizer() const { return *quantizer_; }
  int64_t seen() const { return seen_; }
  double share() const { return static_cast<double>(clipped_) / static_cast<double>(seen_); }

 private:
  std::shared_ptr<FakeQuantize> quantizer_;
  int64_t seen_ = 0, clipped_ = 0;
};

std::vector<std::shared_ptr<ClipProbe>> insert_probes(Module& model) {
  std::vector<std::shared_ptr<ClipProbe>> probes;
  for (auto& [path, module] : model.named_modules()) {
    module->set_executor(nullptr);
    for (Slot* slot : module->slots()) {
      auto quantizer = std::dynamic_pointer_cast<FakeQuantize>(slot->ptr());
      if (quantizer == nullptr) continue;
      probes.push_back(make<ClipProbe>(quantizer));
      slot->set(slot->name(), probes.back());
    }
  }
  return probes;
}

}  // namespace

std::map<std::string, double> clipped_shares(Module& model, const std::vector<Tensor>& batches) {
  model.eval();
  const auto probes = insert_probes(model);
  const NoGrad no_grad;
  for (const Tensor& batch : batches) model(Variable(batch));
  std::map<std::string, double> shares;
  for (const auto& probe : probes) {
    if (probe->seen() > 0) shares[probe->quantizer().path()] = probe->share();
  }
  return shares;
}

}  // namespace halftone
