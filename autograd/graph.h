// What one dummy forward recorded: the one graph for pairs to fold, fusion, scale groups, printing
// and export.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tensor/shape.h"

namespace halftone {

struct GraphNode {
  std::string op;           // as in OpRecord
  std::string module_path;  // innermost module that ran, "features.0"; "" outside modules
  int call = 0;             // 0 for the module's first call of this trace, 1 for its second, ...
  std::vector<int> inputs;  // value ids (parameters do not appear)
  int output = -1;          // value id
  Shape output_shape;       // NHWC, of the dummy batch; axis 0 is symbolic
};

class Graph {
 public:
  const std::vector<GraphNode>& nodes() const { return nodes_; }
  std::vector<int> consumers(int value) const;  // node indices
  int producer(int value) const;                // node index, -1 for the network input
  // The only node that a module made; -1 when it ran more or less than one operation.
  int only_node(const std::string& module_path) const;
  // The node that alone reads a node's value; -1 when others do, when the network returns it, or
  // when it goes through a Dropout, which is no node but changes the value in training.
  int only_consumer(int node) const;
  int input() const { return input_; }  // value id of the network input
  int output() const { return output_; }
  uint64_t version() const { return version_; }  // of the module tree when it was traced
  std::string str() const;                       // a readable table

 private:
  friend class GraphRecorder;
  std::vector<GraphNode> nodes_;
  std::vector<int> dropped_;  // values that a Dropout reads
  int input_ = -1, output_ = -1;
  uint64_t version_ = 0;
};

class Variable;

// While alive, make_result on this thread appends to the graph.
class GraphRecorder {
 public:
  explicit GraphRecorder(const Variable& input);
  ~GraphRecorder();
  GraphRecorder(const GraphRecorder&) = delete;
  GraphRecorder& operator=(const GraphRecorder&) = delete;
  Graph finish(const Variable& output, uint64_t version);
  // The value with an id of the graph; while the recorder lives.
  const Variable& value(int id) const;

  static GraphRecorder* current();
  // A module starts to run (Module says so): its ops carry the number of this call from now on.
  void begin_call(const std::string& module_path);
  void record(const std::string& op, const std::vector<Variable>& inputs, const Variable& output);
  // A Dropout, which in evaluation passes its input on, says what it reads.
  void record_dropout(const Variable& input);

 private:
  int value_id(const Variable& v);  // -1 for leaves that no op produced
  struct State;
  std::shared_ptr<State> state_;
  GraphRecorder* previous_;
};

}  // namespace halftone
