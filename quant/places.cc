// Quantizer: where every quantizer stands. QuantPoint::place says it; chains, sums and slots
// follow.
#include <algorithm>
#include <set>

#include "quant/quantizer.h"
#include "tensor/nearest.h"

namespace halftone {
namespace {

// A slot is never taken from another pass.
void check_empty(const Slot& slot, const std::string& name, const Module& module) {
  if (!slot) return;
  throw HALFTONE_ERROR("quantizer")
      .at(module.path())
      .expected("an empty slot for " + name)
      .found("a " + slot->type_name())
      .fix("take it out, or leave the layer out of config_list");
}

// The executor of the anchor makes the chain's result, which the others must find unchanged.
void check_inner(const Chain& chain) {
  const std::vector<Module*> members = {chain.anchor, chain.pool.get(), chain.norm.get()};
  for (Module* member : members) {
    if (member == nullptr || member == &chain.tail() || !member->output_transform()) continue;
    throw HALFTONE_ERROR("quantizer")
        .at(member->path())
        .what_happened("an output quantizer stands inside of what is computed as one operation")
        .expected("it behind " + chain.tail().path());
  }
}

}  // namespace

// One output quantizer for modules computed as one, behind the last: the last one that the
// configuration names.
void Quantizer::settle_output(const std::vector<const Module*>& members, const Module& tail) {
  const Module* last = nullptr;
  for (const Module* member : members) {
    if (member == nullptr || find_point(member->path(), QuantType::kOutput) == nullptr) continue;
    if (last != nullptr) {
      warn("the output quantizer of " + last->path() + " is left out: that of " + member->path() +
           " stands behind what is computed together");
      points_.erase(points_.begin() +
                    (find_point(last->path(), QuantType::kOutput) - points_.data()));
    }
    last = member;
  }
  if (last != nullptr) find_point(last->path(), QuantType::kOutput)->place = tail.path();
}

// The same whether the chain computes on integers or not. NNI quantizes the layer's result, before
// an activation; a batch norm that it has folded passes that on.
void Quantizer::settle_outputs(const Chain& chain) {
  if (!options_.nni) {
    return settle_output({chain.anchor, chain.pool.get(), chain.norm.get(), chain.activation.get()},
                         chain.tail());
  }
  if (chain.norm != nullptr && chain.fold == FoldMode::kNni)
    settle_output({chain.anchor, chain.norm.get()}, *chain.norm);
}

void Quantizer::warn_of_moved_outputs(const std::vector<ChainPtr>& chains) {
  std::vector<std::string> moved;
  for (const ChainPtr& chain : chains) {
    const QuantPoint* point = point_behind(chain->tail().path());
    if (point != nullptr && point->module != point->place && !options_.nni)
      moved.push_back(point->module + " (behind " + point->place + ")");
  }
  if (moved.empty()) return;
  warn(
      "outputs are quantized behind the batch norm and the activation that are computed together "
      "with their layer: " +
      short_list(moved));
}

QuantPoint* Quantizer::point_behind(const std::string& module) {
  for (QuantPoint& point : points_) {
    if (point.behind_place() && point.place == module) return &point;
  }
  return nullptr;
}

std::shared_ptr<FakeQuantize> Quantizer::quantizer_behind(const std::string& module) const {
  const auto found = std::find_if(points_.begin(), points_.end(), [&](const QuantPoint& p) {
    return p.behind_place() && p.place == module;
  });
  return found == points_.end() ? nullptr : found->quantizer;
}

ValueSign Quantizer::sign_of(const QuantPoint& point) const {
  return point.behind_place() ? sign_of_output(model_, *graph_, point.place)
                              : sign_of_input(model_, *graph_, point.place);
}

// Chains and sums compute what stands at their ends. What no epilogue can compute stands behind the
// chain.
void Quantizer::bind_places() {
  for (const ChainPtr& chain : chains_) {
    const QuantPoint* input = find_point(chain->anchor->path(), QuantType::kInput);
    chain->input = input == nullptr || input->behind_place() ? nullptr : input->quantizer;
    chain->output = quantizer_behind(chain->tail().path());
    if (chain->output != nullptr && !chain->output->fits_epilogue()) chain->output = nullptr;
  }
  for (const SumPtr& sum : sums_) sum->output = quantizer_behind(sum->tail().path());
}

void Quantizer::fill_slots() {
  std::set<FakeQuantize*> placed;
  for (const QuantPoint& point : points_) {
    if (placed.insert(point.quantizer.get()).second) fill_slot(point);
  }
  for (const ChainPtr& chain : chains_) check_inner(*chain);
}

void Quantizer::fill_slot(const QuantPoint& point) {
  Module& module = *model_.find(point.place);
  const auto put = [&](Slot& slot, const std::string& name) {
    check_empty(slot, name, module);
    placed_.emplace(&slot, slot.name());
    slot.set(name, point.quantizer);
  };
  if (point.behind_place()) return put(module.output_transform(), "activation_post_process");
  auto& layer = dynamic_cast<WeightLayer&>(module);
  Slot& slot = point.type == QuantType::kWeight     ? layer.weight_transform()
               : point.type == QuantType::kGradient ? layer.gradient_transform()
               : point.type == QuantType::kBias     ? layer.bias_transform()
                                                    : layer.input_transform();
  put(slot, name_of(point.type) + "_fake_quant");
}

std::shared_ptr<FakeQuantize> Quantizer::codes_before(const std::string& layer) const {
  return graph_.has_value() ? arriving_codes(model_, *graph_, layer) : nullptr;
}

}  // namespace halftone
