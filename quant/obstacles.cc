// Quantizer: what has no integer form, and why.
#include <algorithm>

#include "quant/quantizer.h"
#include "tensor/nearest.h"

namespace halftone {
namespace {

bool known(const std::shared_ptr<FakeQuantize>& q) { return q != nullptr && q->initialised(); }

// Why nothing of it is quantized yet, or "".
std::string waits(const std::string& what, const FakeQuantize* q) {
  if (q == nullptr || !q->warm_up()) return "";
  return what + " is in float until step " + std::to_string(q->spec().start_step);
}

}  // namespace

void Quantizer::reject(const std::string& module, const std::string& why) {
  obstacles_[module] = why;
  warn(module + " runs on the float path and cannot be deployed as integers: " + why);
}

std::string Quantizer::chain_obstacle(const Chain& chain) const {
  const std::string why = chain.weight->integer_obstacle();
  if (!why.empty()) return why;
  if (chain.norm != nullptr && chain.fold == FoldMode::kNni) return "NNI's batch-norm folding";
  if (chain.quantizes_folded() && !chain.weight->learned().empty())
    return "a learned scale of folded weights";
  return chain.input != nullptr ? chain.input->integer_obstacle() : "";
}

// What no obstacle of a layer tells already: inputs that nobody quantizes, outputs that stay float.
void Quantizer::warn_of_floats() {
  std::vector<std::string> names;
  for (const ChainPtr& chain : chains_) {
    if (chain->grid == nullptr) names.push_back(chain->anchor->path());
  }
  if (!names.empty()) {
    warn(short_list(names) + (names.size() == 1 ? " runs" : " run") +
         " on the float path and cannot be deployed as integers: no quantized input "
         "reaches " +
         (names.size() == 1 ? "it" : "them"));
  }
  for (const QuantPoint& point : points_) {
    const std::string why = point.quantizer->integer_obstacle();
    if (point.type == QuantType::kOutput && !why.empty() && obstacles_.count(point.module) == 0)
      warn("the output of " + point.module + " stays float: " + why);
  }
}

std::string Quantizer::integer_obstacle(const std::string& module) const {
  const auto found = obstacles_.find(module);
  if (found != obstacles_.end()) return found->second;
  if (!options_.integer)
    return options_.nni ? "NNI's arithmetic was asked for" : "the float path was asked for";
  for (const ChainPtr& chain : chains_) {
    if (chain->anchor->path() != module) continue;
    return chain->grid != nullptr ? "" : "no quantized input reaches it";
  }
  for (const SumPtr& sum : sums_) {
    if (sum->add->path() == module) return "";
  }
  return "its weight is not quantized";
}

// Why the layer computes on floats for now: a quantizer that it needs has not begun.
std::string Quantizer::waits_for(const std::string& path) const {
  std::string why = waits("it", quantizer_of(path, QuantType::kWeight).get());
  if (why.empty()) why = waits("its input", quantizer_of(path, QuantType::kInput).get());
  if (why.empty()) why = waits("its output", quantizer_of(path, QuantType::kOutput).get());
  const Chain* chain = chain_of(path);
  return !why.empty() || chain == nullptr ? why : waits("its input", chain->grid.get());
}

// Of what has an integer form, and computes on floats nevertheless: it does not quantize yet, or
// nothing but zeros, or nothing at all, has reached a quantizer in training. Before training that
// is said of nothing.
std::string Quantizer::unknown_scale(const std::string& path) const {
  if (step() <= 1) return "";
  const std::string why = waits_for(path);
  const Chain* chain = chain_of(path);
  if (!why.empty() || chain == nullptr) return why;
  if (!known(chain->weight)) return "training has found no scale of its weight";
  return known(chain->grid) ? "" : "training has found no range of its input";
}

}  // namespace halftone
