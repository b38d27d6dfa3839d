#include <unordered_map>

#include "autograd/graph.h"
#include "autograd/variable.h"

namespace halftone {
namespace {

thread_local GraphRecorder* t_current = nullptr;

// "features.3 (Conv2d 128->128)" -> "features.3"; the root's "(LeNet5)" -> "".
std::string path_alone(const std::string& scope) {
  return scope.rfind('(', 0) == 0 ? "" : scope.substr(0, scope.find(" ("));
}

}  // namespace

struct GraphRecorder::State {
  Graph graph;
  std::vector<Variable> kept;  // alive until the end: an address must not serve two values
  std::unordered_map<const void*, int> ids;
  std::unordered_map<std::string, int> calls;  // begun so far, per module path

  int add(const Variable& v) {
    const int id = static_cast<int>(kept.size());
    kept.push_back(v);
    ids[v.id()] = id;
    return id;
  }
};

GraphRecorder::GraphRecorder(const Variable& input)
    : state_(std::make_shared<State>()), previous_(t_current) {
  state_->graph.input_ = state_->add(input);
  t_current = this;
}

GraphRecorder::~GraphRecorder() { t_current = previous_; }

const Variable& GraphRecorder::value(int id) const { return state_->kept.at(id); }

GraphRecorder* GraphRecorder::current() { return t_current; }

void GraphRecorder::begin_call(const std::string& module_path) {
  ++state_->calls[path_alone(module_path)];
}

int GraphRecorder::value_id(const Variable& v) {
  const auto found = state_->ids.find(v.id());
  return found == state_->ids.end() ? -1 : found->second;
}

void GraphRecorder::record(const std::string& op, const std::vector<Variable>& inputs,
                           const Variable& output) {
  GraphNode node;
  node.op = op;
  node.module_path = path_alone(ErrorScope::current());
  const auto calls = state_->calls.find(node.module_path);
  node.call = calls == state_->calls.end() ? 0 : calls->second - 1;
  for (const Variable& v : inputs) {
    const int id = v.defined() ? value_id(v) : -1;
    if (id >= 0) node.inputs.push_back(id);
  }
  node.output = state_->add(output);
  node.output_shape = output.shape();
  state_->graph.nodes_.push_back(std::move(node));
}

void GraphRecorder::record_dropout(const Variable& input) {
  state_->graph.dropped_.push_back(value_id(input));
}

Graph GraphRecorder::finish(const Variable& output, uint64_t version) {
  const int id = value_id(output);
  if (id < 0) {
    throw HALFTONE_ERROR("trace")
        .what_happened("the output does not come from a recorded op")
        .fix("build results with Halftone's ops inside forward");
  }
  state_->graph.output_ = id;
  state_->graph.version_ = version;
  return state_->graph;
}

}  // namespace halftone
