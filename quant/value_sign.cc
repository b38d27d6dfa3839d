#include "quant/value_sign.h"

#include <algorithm>
#include <set>

#include "nn/layers.h"

namespace halftone {
namespace {

bool is_one_of(const std::string& op, const std::set<std::string>& ops) {
  return ops.count(op) > 0;
}

// Non-negative only where all are; of any sign where one is.
ValueSign joined(const std::vector<ValueSign>& signs) {
  ValueSign all = signs.empty() ? ValueSign::kUnknown : ValueSign::kNonNegative;
  for (const ValueSign s : signs) {
    if (s == ValueSign::kAny) return s;
    if (s == ValueSign::kUnknown) all = s;
  }
  return all;
}

ValueSign sign_of_value(Module& model, const Graph& graph, int value);

ValueSign sign_of_node(Module& model, const Graph& graph, const GraphNode& node) {
  static const std::set<std::string> kNonNegative = {"relu", "relu6", "sigmoid", "softmax"};
  static const std::set<std::string> kKeeps = {
      "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "flatten", "reshape", "identity",
      "dropout",    "concat",     "subsample_pad",       "add",     "mul"};
  if (is_one_of(node.op, kNonNegative)) return ValueSign::kNonNegative;
  if (node.op == "hardtanh") {
    auto* layer = dynamic_cast<ActivationLayer*>(model.find(node.module_path));
    const bool clips = layer != nullptr && layer->options().low >= 0;
    return clips ? ValueSign::kNonNegative : ValueSign::kAny;
  }
  if (!is_one_of(node.op, kKeeps)) return ValueSign::kAny;
  std::vector<ValueSign> signs;
  for (const int input : node.inputs) signs.push_back(sign_of_value(model, graph, input));
  return joined(signs);
}

ValueSign sign_of_value(Module& model, const Graph& graph, int value) {
  const int node = graph.producer(value);
  return node < 0 ? ValueSign::kUnknown : sign_of_node(model, graph, graph.nodes()[node]);
}

}  // namespace

ValueSign sign_of_input(Module& model, const Graph& graph, const std::string& path) {
  std::vector<ValueSign> signs;
  std::set<int> own;  // values that the module itself makes
  for (const GraphNode& node : graph.nodes()) {
    if (node.module_path != path) continue;
    for (const int input : node.inputs) {
      if (own.count(input) == 0) signs.push_back(sign_of_value(model, graph, input));
    }
    own.insert(node.output);
  }
  return joined(signs);
}

ValueSign sign_of_output(Module& model, const Graph& graph, const std::string& path) {
  std::map<int, const GraphNode*> last;  // of each call
  for (const GraphNode& node : graph.nodes()) {
    if (node.module_path == path) last[node.call] = &node;
  }
  std::vector<ValueSign> signs;
  for (const auto& [call, node] : last) signs.push_back(sign_of_node(model, graph, *node));
  return joined(signs);
}

}  // namespace halftone
