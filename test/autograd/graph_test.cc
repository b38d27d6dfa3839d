// The graph that a forward records.
#include <catch2/catch.hpp>

#include "autograd/graph.h"
#include "autograd/ops.h"

using namespace halftone;

namespace {

// Runs body as module `path` does.
template <class Body>
Variable in_module(const std::string& path, Body body) {
  const ErrorScope scope(path);
  if (GraphRecorder* recorder = GraphRecorder::current()) recorder->begin_call(path);
  return body();
}

struct Block {
  Context context;
  Tensor weight = Tensor::full(context, {4, 3, 3, 4}, 0.1f);
  Tensor mean = Tensor::zeros(context, {4}), variance = Tensor::full(context, {4}, 1.0f);

  Variable conv(const std::string& path, const Variable& x) {
    return in_module(path + " (Conv2d 4->4)", [&] {
      return conv2d(x, Variable(weight, true), Variable(), {1, 1, 1, 1});
    });
  }
  Variable norm(const std::string& path, const Variable& x) {
    BatchNormOptions options;
    options.training = false;
    return in_module(path, [&] {
      return batch_norm(x, Variable(mean, true), Variable(mean, true), mean, variance, options);
    });
  }
  Variable activate(const Variable& x) {
    return in_module("block.relu", [&] { return relu(x); });
  }
  Variable forward(const Variable& x) {
    return in_module("block", [&] {
      const Variable inner = activate(norm("block.bn1", conv("block.conv1", x)));
      const Variable outer = norm("block.bn2", conv("block.conv2", inner));
      return activate(add(outer, dropout(x, 0.5f, false)));
    });
  }
};

Graph trace_block() {
  Block block;
  const Variable x(Tensor::zeros(block.context, {1, 6, 6, 4}));
  const NoGrad no_grad;
  GraphRecorder recorder(x);
  const Variable y = block.forward(x);
  return recorder.finish(y, 42);
}

}  // namespace

TEST_CASE("the graph of a residual block") {
  const Graph graph = trace_block();
  std::vector<std::string> names;
  for (const GraphNode& n : graph.nodes()) {
    names.push_back(n.module_path + ":" + n.op + "#" + std::to_string(n.call));
  }
  CHECK(names == std::vector<std::string>{"block.conv1:conv2d#0", "block.bn1:batch_norm#0",
                                          "block.relu:relu#0", "block.conv2:conv2d#0",
                                          "block.bn2:batch_norm#0", "block:add#0",
                                          "block.relu:relu#1"});
  CHECK(graph.version() == 42);
  const Shape shape{1, 6, 6, 4};
  CHECK(graph.nodes()[3].output_shape == shape);
}

TEST_CASE("edges: consumers, producers, no parameters") {
  const Graph graph = trace_block();
  const std::vector<GraphNode>& nodes = graph.nodes();
  CHECK(graph.consumers(graph.input()) == std::vector<int>{0, 5});  // conv1 and the add
  CHECK(graph.producer(graph.input()) == -1);
  for (int i = 0; i < 4; ++i) CHECK(graph.consumers(nodes[i].output) == std::vector<int>{i + 1});
  for (int i = 0; i < 7; ++i) CHECK(graph.producer(nodes[i].output) == i);
  CHECK(nodes[0].inputs == std::vector<int>{graph.input()});
  CHECK(nodes[5].inputs == std::vector<int>{nodes[4].output, graph.input()});
  CHECK(graph.output() == nodes[6].output);
  CHECK(graph.consumers(graph.output()).empty());
  CHECK(graph.only_node("block.bn2") == 4);
  CHECK(graph.only_node("block.relu") == -1);  // runs twice
  CHECK(graph.only_node("nobody") == -1);
  CHECK(graph.only_consumer(0) == 1);
  CHECK(graph.only_consumer(6) == -1);  // the network's output
}

TEST_CASE("the graph prints as a table") {
  const std::string text = trace_block().str();
  CHECK_THAT(text, Catch::StartsWith("input %0\n") && Catch::EndsWith("output %7\n"));
  CHECK_THAT(text, Catch::Contains("%6   = add") && Catch::Contains("<- %5, %0\n"));
  CHECK_THAT(text, Catch::Contains("block.relu  #1  [1, 6, 6, 4]"));
}

TEST_CASE("a value used twice by one op has one consumer") {
  const Context context;
  const Variable x(Tensor::zeros(context, {2}));
  GraphRecorder recorder(x);
  const Variable y = add(x, x);
  const Graph graph = recorder.finish(y, 0);
  CHECK(graph.nodes()[0].inputs == std::vector<int>{0, 0});
  CHECK(graph.consumers(0) == std::vector<int>{0});
  CHECK(graph.nodes()[0].module_path.empty());
}

TEST_CASE("values that died do not lend their address to later ones") {
  const Context context;
  const Variable x(Tensor::zeros(context, {2}));
  const NoGrad no_grad;
  GraphRecorder recorder(x);
  for (int i = 0; i < 20; ++i) relu(x);  // results nobody holds
  const Variable constant(Tensor::zeros(context, {2}));
  const Graph graph = recorder.finish(add(constant, x), 0);
  CHECK(graph.nodes().back().inputs == std::vector<int>{0});
}

TEST_CASE("only the recorder's life is recorded") {
  const Context context;
  const Variable x(Tensor::zeros(context, {2}));
  CHECK(GraphRecorder::current() == nullptr);
  {
    GraphRecorder outer(x);
    {
      GraphRecorder inner(x);
      relu(x);
      CHECK(inner.finish(x, 0).nodes().size() == 1);
    }
    CHECK(GraphRecorder::current() == &outer);
    CHECK(outer.finish(x, 0).nodes().empty());
    CHECK_THROWS_WITH(outer.finish(Variable(x.value()), 0), Catch::Contains("recorded"));
  }
  CHECK(GraphRecorder::current() == nullptr);
}
