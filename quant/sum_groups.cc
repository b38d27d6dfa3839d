// Which edges of the graph share a scale.
#include <algorithm>
#include <map>

#include "quant/sum.h"
#include "quant/value_sign.h"

namespace halftone {
namespace {

// Nodes (and -1, the network's input) in disjoint sets.
class UnionFind {
 public:
  int find(int node) {
    const auto found = parent_.emplace(node, node).first;
    return found->second == node ? node : found->second = find(found->second);
  }
  void unite(int a, int b) { parent_[find(a)] = find(b); }
  // Every set, in ascending order of its members.
  std::map<int, std::vector<int>> sets() {
    std::vector<int> nodes;
    for (const auto& [node, parent] : parent_) nodes.push_back(node);
    std::map<int, std::vector<int>> out;
    for (const int node : nodes) out[find(node)].push_back(node);
    return out;
  }

 private:
  std::map<int, int> parent_;
};

bool runs_once(const Graph& graph, int node) {
  const std::string& path = graph.nodes()[node].module_path;
  for (size_t i = node + 1; i < graph.nodes().size(); ++i) {
    if (graph.nodes()[i].module_path == path) return false;  // another call, or a later operation
  }
  return std::none_of(graph.nodes().begin(), graph.nodes().end(),
                      [&](const GraphNode& n) { return n.module_path == path && n.call > 0; });
}

std::string obstacle_of(const Graph& graph, const Edge& edge) {
  if (edge.node < 0) return "the network's input is added";
  const std::string& path = graph.nodes()[edge.node].module_path;
  if (edge.maker == nullptr || path.empty() || !runs_once(graph, edge.node))
    return "a value that is added is not the only result of a module (" + path + ")";
  if (edge.maker->output_transform()) return path + " has an output transform already";
  return "";
}

Edge edge_of(Module& model, const Graph& graph, int node) {
  Edge edge;
  edge.node = node;
  if (node < 0) return edge;
  const GraphNode& made = graph.nodes()[node];
  edge.maker = model.find(made.module_path);
  edge.concatenated = made.op == "concat";
  edge.non_negative = edge.maker != nullptr &&
                      sign_of_output(model, graph, made.module_path) == ValueSign::kNonNegative;
  return edge;
}

// Codes that are concatenated have one zero point too.
void share_zero_points(EdgeGroup& group) {
  const auto is = [&](bool Edge::*what) { return [what](const Edge& e) { return e.*what; }; };
  if (std::none_of(group.edges.begin(), group.edges.end(), is(&Edge::concatenated))) return;
  const bool all = std::all_of(group.edges.begin(), group.edges.end(), is(&Edge::non_negative));
  for (Edge& edge : group.edges) edge.non_negative = all;
}

}  // namespace

int maker_of(const Graph& graph, int value, const IsQuantized& is_quantized) {
  int node = graph.producer(value);
  while (node >= 0) {
    const GraphNode& made = graph.nodes()[node];
    if (!passes_codes(made.op) || is_quantized(made.module_path)) break;
    node = graph.producer(made.inputs.at(0));
  }
  return node;
}

std::vector<EdgeGroup> find_edge_groups(Module& model, const Graph& graph,
                                        const std::vector<SumPtr>& sums,
                                        const std::vector<Module*>& concats,
                                        const IsQuantized& is_quantized) {
  UnionFind sets;
  std::vector<std::pair<Module*, int>> users;  // and where their result is made
  const auto unite = [&](Module& user, int result) {
    for (const int input : graph.nodes()[graph.only_node(user.path())].inputs)
      sets.unite(maker_of(graph, input, is_quantized), result);
    users.emplace_back(&user, result);
  };
  for (const SumPtr& sum : sums) unite(*sum->add, graph.only_node(sum->tail().path()));
  for (Module* concat : concats) unite(*concat, graph.only_node(concat->path()));
  std::vector<EdgeGroup> groups;
  for (const auto& [root, nodes] : sets.sets()) {
    EdgeGroup& group = groups.emplace_back();
    for (const int node : nodes) {
      group.edges.push_back(edge_of(model, graph, node));
      const std::string why = obstacle_of(graph, group.edges.back());
      if (group.obstacle.empty()) group.obstacle = why;
    }
    for (const auto& [user, result] : users) {
      if (sets.find(result) == root) group.users.push_back(user);
    }
    share_zero_points(group);
  }
  return groups;
}

}  // namespace halftone
