// Quantizer::float_layers.
#include <algorithm>
#include <set>

#include "quant/quantizer.h"

namespace halftone {
namespace {

// Nodes with a quantized layer somewhere before them, and somewhere behind them.
std::vector<bool> between(const Graph& graph, const std::set<std::string>& quantized) {
  const std::vector<GraphNode>& nodes = graph.nodes();
  std::vector<bool> before(nodes.size()), behind(nodes.size());
  const auto counts = [&](int node, const std::vector<bool>& reached) {
    return node >= 0 && (reached[node] || quantized.count(nodes[node].module_path) > 0);
  };
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (const int value : nodes[i].inputs)
      before[i] = before[i] || counts(graph.producer(value), before);
  }
  for (size_t i = nodes.size(); i-- > 0;) {
    for (const int reader : graph.consumers(nodes[i].output))
      behind[i] = behind[i] || counts(reader, behind);
  }
  for (size_t i = 0; i < nodes.size(); ++i) before[i] = before[i] && behind[i];
  return before;
}

bool is_clamp_op(const std::string& op) {
  return op == "relu" || op == "relu6" || op == "hardtanh";
}

const char* const kNoCodes = "no codes reach it: quantize the output of the layer before it";

// Why no integers pass through something that is no convolution or linear layer.
std::string reason_of(const GraphNode& node) {
  if (node.op == "add" || node.op == "concat")
    return "its result is not quantized (quant_types [\"output\"])";
  if (node.op == "batch_norm") return "it is not folded into the layer before it";
  if (passes_codes(node.op)) return kNoCodes;
  if (is_clamp_op(node.op)) return "it does not directly follow a layer that computes on integers";
  return node.op + " has no integer form";
}

// The same of an average pooling. `known`: it is one of the averages, so that codes are missing.
std::string reason_of_average(const Module& pool, const Shape& image, bool known) {
  if (known) return kNoCodes;
  if (!equal_windows(pool, image)) return "its windows do not all average as many values";
  return "its result has no quantizer of its own: quantize its output (quant_types [\"output\"])";
}

}  // namespace

bool Quantizer::runs_on_integers(const GraphNode& node) const {
  const std::string& path = node.module_path;
  const auto is = [&path](const Module* m) { return m != nullptr && m->path() == path; };
  for (const ChainPtr& c : chains_) {
    if (c->grid == nullptr) continue;
    if (is(c->anchor) || is(c->pool.get()) || is(c->norm.get()) || is(c->activation.get()))
      return true;
  }
  for (const SumPtr& s : sums_) {
    if (is(s->add) || is(s->activation.get())) return true;
  }
  for (const AveragePtr& a : averages_) {
    if (is(a->pool)) return arriving_codes(model_, *graph_, path) != nullptr;
  }
  const auto quantizer = node.op == "concat" ? quantizer_behind(path) : nullptr;
  return quantizer != nullptr && quantizer->shares_scale();
}

std::string Quantizer::reason_on_floats(const GraphNode& node) const {
  const Module* module = model_.find(node.module_path);
  const bool averages = node.op == "avg_pool2d" || node.op == "adaptive_avg_pool2d";
  if (module == nullptr || !averages) return reason_of(node);
  const bool known = std::any_of(averages_.begin(), averages_.end(),
                                 [&](const AveragePtr& a) { return a->pool == module; });
  const int before = graph_->producer(node.inputs.at(0));
  return reason_of_average(*module, before < 0 ? Shape{} : graph_->nodes()[before].output_shape,
                           known);
}

std::map<std::string, std::string> Quantizer::float_layers() const {
  std::map<std::string, std::string> found;
  std::set<std::string> quantized;
  for (const QuantPoint& p : points_) {
    quantized.insert(p.module);
    std::string why = integer_obstacle(p.module);
    if (why.empty()) why = unknown_scale(p.module);
    if (p.type != QuantType::kWeight) why = step() > 1 ? waits_for(p.module) : "";
    if (!why.empty()) found.emplace(p.module, why);
  }
  if (!graph_.has_value() || !options_.integer) return found;
  const auto has_output = [this](const std::string& path) {
    return quantizer_behind(path) != nullptr;
  };
  const std::vector<bool> inside = between(*graph_, quantized);
  std::set<int> floats;  // values of what is named here, and of what follows it
  for (size_t i = 0; i < graph_->nodes().size(); ++i) {
    const GraphNode& node = graph_->nodes()[i];
    const std::string& path = node.module_path;
    if (runs_on_integers(node)) continue;
    const bool moves = passes_codes(node.op) || node.op == "dropout";
    const bool follows = moves || node.op == "batch_norm" || is_clamp_op(node.op);
    const bool named = quantized.count(path) > 0;
    const bool behind = follows && !node.inputs.empty() && floats.count(node.inputs[0]) > 0;
    if (found.count(path) > 0 || behind) {
      if (!has_output(path)) floats.insert(node.output);
      continue;
    }
    const bool lacks = moves && has_output(path) && !arriving_codes(model_, *graph_, path);
    if ((moves && !lacks) || (!named && !inside[i])) continue;
    const bool layer = dynamic_cast<WeightLayer*>(model_.find(path)) != nullptr;
    const auto known = obstacles_.find(path);
    found[path.empty() ? "the network itself" : path] = known != obstacles_.end() ? known->second
                                                        : layer ? integer_obstacle(path)
                                                                : reason_on_floats(node);
    if (!has_output(path)) floats.insert(node.output);
  }
  return found;
}

}  // namespace halftone
