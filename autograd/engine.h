// Runs backward closures: autograd's own files only.
#pragma once

#include <memory>
#include <vector>

#include "autograd/variable_impl.h"

namespace halftone {

// Where the gradient of one input is on its way during one closure.
struct GradSink::Slot {
  GradEdge* edge = nullptr;
  Tensor out;           // what out() handed out
  bool direct = false;  // out is the leaf's own buffer: nothing to deliver
};

struct Engine {
  static void backward(const Variable& root, Tensor upstream);

  // make_result's: checks, records, attaches the node.
  static Variable finish(OpRecord& record, Variable result);
  static GradEdge edge_to(const Variable& v);
  static void attach_node(OpRecord& record, Variable& result);

  // Adds a gradient to what the edge leads to. Never writes memory that somebody else can see.
  static void deliver(GradEdge& edge, Tensor gradient);
  static void deliver_to_leaf(Variable::Impl& leaf, Tensor gradient);
  // The leaf's buffer when it is free to be overwritten, undefined otherwise.
  static Tensor claim_buffer(const GradEdge& edge);
  static void run_closure(Node& node, std::vector<GradSink::Slot>& slots, const Tensor& upstream);
  static void run_node(Node& node, std::vector<GradSink::Slot>& slots);
  static void deliver_outs(const Node& node, std::vector<GradSink::Slot>& slots);
};

}  // namespace halftone
