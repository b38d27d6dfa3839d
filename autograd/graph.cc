#include "autograd/graph.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

namespace halftone {
namespace {

std::string joined(const std::vector<int>& values) {
  std::string text;
  for (int v : values) text += (text.empty() ? "%" : ", %") + std::to_string(v);
  return text;
}

}  // namespace

std::vector<int> Graph::consumers(int value) const {
  std::vector<int> found;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const std::vector<int>& inputs = nodes_[i].inputs;
    if (std::find(inputs.begin(), inputs.end(), value) != inputs.end()) {
      found.push_back(static_cast<int>(i));
    }
  }
  return found;
}

int Graph::producer(int value) const {
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].output == value) return static_cast<int>(i);
  }
  return -1;
}

int Graph::only_node(const std::string& module_path) const {
  int only = -1;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].module_path != module_path) continue;
    if (only >= 0) return -1;
    only = static_cast<int>(i);
  }
  return only;
}

int Graph::only_consumer(int node) const {
  const int value = nodes_[node].output;
  const std::vector<int> readers = consumers(value);
  const bool dropped = std::find(dropped_.begin(), dropped_.end(), value) != dropped_.end();
  return readers.size() == 1 && value != output_ && !dropped ? readers[0] : -1;
}

std::string Graph::str() const {
  size_t op_width = 0, path_width = 0;
  for (const GraphNode& node : nodes_) {
    op_width = std::max(op_width, node.op.size());
    path_width = std::max(path_width, node.module_path.size());
  }
  std::ostringstream text;
  text << "input %" << input_ << "\n" << std::left;
  for (const GraphNode& node : nodes_) {
    const std::string output = "%" + std::to_string(node.output);
    text << std::setw(5) << output << "= " << std::setw(static_cast<int>(op_width)) << node.op
         << "  " << std::setw(static_cast<int>(path_width)) << node.module_path << " #" << node.call
         << "  " << node.output_shape.str() << " <- " << joined(node.inputs) << "\n";
  }
  text << "output %" << output_ << "\n";
  return text.str();
}

}  // namespace halftone
