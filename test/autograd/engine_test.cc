// Accumulation, sharing, order, release and errors of backward.
#include <catch2/catch.hpp>

#include "autograd/ops.h"

using namespace halftone;

namespace {

using Floats = std::vector<float>;

Tensor tensor(const Floats& values) {
  const Context context;
  return Tensor::from<float>(context, {static_cast<int64_t>(values.size())}, values);
}

Floats values_of(const Tensor& t) { return t.to_vector<float>(); }

// y = x, with a backward of one's own.
Variable custom(const Variable& x, BackwardFn backward, const std::string& op = "custom") {
  return make_result({op, {x}, std::move(backward)}, x.value().clone());
}

// A tensor whose memory dies with the returned owner's other handles.
struct Watched {
  std::shared_ptr<Floats> memory = std::make_shared<Floats>(Floats{1, 2});
  Tensor view(const Context& context) const {
    return Tensor::view_of(context, {2}, DType::kFloat32, memory->data(), memory);
  }
  bool released() const { return memory.use_count() == 1; }
};

}  // namespace

TEST_CASE("gradients accumulate over backwards until zero_grad") {
  Variable w(tensor({1, 2}), true);
  CHECK_FALSE(w.grad().defined());
  sum(scale(w, 3)).backward();
  const Tensor first = w.grad();
  sum(scale(w, 4)).backward();
  CHECK(values_of(w.grad()) == Floats{7, 7});
  CHECK(values_of(first) == Floats{3, 3});  // a handle that somebody holds is never written
  w.zero_grad();
  CHECK_FALSE(w.grad().defined());
  sum(scale(w, 5)).backward();
  CHECK(values_of(w.grad()) == Floats{5, 5});
}

TEST_CASE("a gradient buffer is overwritten first and added to afterwards") {
  Variable w(tensor({1, 2}), true);
  Tensor buffer = tensor({100, 100});
  w.set_grad_buffer(buffer);
  CHECK_FALSE(w.grad().defined());
  sum(scale(w, 3)).backward();
  CHECK(w.grad().same_memory(buffer));
  CHECK(values_of(buffer) == Floats{3, 3});
  reshape(w, {2}).backward(tensor({1, 2}));  // put(): copied, not adopted
  CHECK(values_of(buffer) == Floats{4, 5});
  w.zero_grad();
  reshape(w, {2}).backward(tensor({7, 8}));
  CHECK(w.grad().same_memory(buffer));
  CHECK(values_of(buffer) == Floats{7, 8});
}

TEST_CASE("set_grad_buffer takes over what was accumulated and checks the shape") {
  Variable w(tensor({1, 2}), true);
  sum(w).backward();
  Tensor buffer = tensor({0, 0});
  w.set_grad_buffer(buffer);
  CHECK(values_of(buffer) == Floats{1, 1});
  CHECK_THROWS_WITH(w.set_grad_buffer(tensor({1})), Catch::Contains("[2]"));
}

TEST_CASE("out() is the leaf's own buffer exactly when nothing was accumulated") {
  Variable w(tensor({1, 2}), true);
  Tensor buffer = tensor({0, 0});
  w.set_grad_buffer(buffer);
  std::vector<bool> direct;
  const auto once = [&] {
    custom(w, [&](const Tensor& dy, GradSink& sink) {
      direct.push_back(sink.out(0).same_memory(buffer));
      sink.out(0).copy_from(dy);
    }).backward(tensor({1, 1}));
  };
  once();
  once();
  w.zero_grad();
  once();
  CHECK(direct == std::vector<bool>{true, false, true});
  CHECK(values_of(buffer) == Floats{1, 1});
}

TEST_CASE("sum() is the gradient so far, in place, exactly when nobody else sees it") {
  const Variable x(tensor({1, 2}), true), r(tensor({0, 0}), true);
  std::vector<bool> there;
  const auto consumer = [&](const Variable& inner) {
    return custom(inner, [&](const Tensor& dy, GradSink& sink) {
      Tensor* sum = sink.sum(0);
      there.push_back(sum != nullptr);
      Tensor& to = sum ? *sum : sink.out(0);
      for (int i = 0; i < 2; ++i) {
        to.data<float>()[i] = dy.data<float>()[i] + (sum ? to.data<float>()[i] : 0.0f);
      }
    });
  };
  Variable inner = scale(x, 1);
  add(consumer(inner), consumer(inner)).backward(tensor({1, 10}));
  CHECK(there == std::vector<bool>{false, true});
  CHECK(values_of(x.grad()) == Floats{2, 20});
  inner = scale(x, 1);
  add(add(consumer(inner), r), inner).backward(tensor({1, 10}));  // inner's gradient is also r's
  CHECK(there == std::vector<bool>{false, true, false});
  CHECK(values_of(r.grad()) == Floats{1, 10});
  CHECK(values_of(x.grad()) == Floats{4, 40});
}

TEST_CASE("one variable as both inputs of an op") {
  const bool buffered = GENERATE(false, true);
  Variable x(tensor({3, -2}), true);
  Tensor buffer = tensor({9, 9});
  if (buffered) x.set_grad_buffer(buffer);
  sum(mul(x, x)).backward();
  CHECK(values_of(x.grad()) == Floats{6, -4});
  sum(add(x, x)).backward();
  CHECK(values_of(x.grad()) == Floats{8, -2});
}

TEST_CASE("a gradient that two consumers share is not corrupted") {
  const Variable x(tensor({1, -1}), true), r(tensor({5, 5}), true);
  const Variable inner = scale(x, 2);
  const Tensor upstream = tensor({1, 10});
  // add hands the same buffer to relu, to r and to inner; inner then gets a second gradient.
  Variable y = add(add(relu(inner), r), inner);
  y.backward(upstream);
  CHECK(values_of(upstream) == Floats{1, 10});
  CHECK(values_of(r.grad()) == Floats{1, 10});
  CHECK(values_of(x.grad()) == Floats{4, 20});
}

TEST_CASE("diamonds run each node once, in descending order of creation") {
  std::vector<std::string> order;
  const auto tell = [&](const std::string& name) {
    return [&order, name](const Tensor& dy, GradSink& sink) {
      order.push_back(name);
      sink.put(0, dy);
    };
  };
  const Variable x(tensor({1}), true);
  const Variable a = custom(x, tell("a"));
  const Variable b = custom(a, tell("b"));
  const Variable unused = custom(a, tell("unused"));
  const Variable c = custom(a, tell("c"));
  sum(add(c, b)).backward();
  CHECK(order == std::vector<std::string>{"c", "b", "a"});
  CHECK(values_of(x.grad()) == Floats{2});
}

TEST_CASE("a consumer that sends nothing counts as zero") {
  const Variable x(tensor({1, 2}), true);
  bool ran = false;
  const Variable silent = custom(x, [&](const Tensor&, GradSink&) { ran = true; });
  sum(custom(scale(silent, 2), [](const Tensor&, GradSink&) {})).backward();
  CHECK_FALSE(ran);
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("a chain of 10,000 adds") {
  const Variable x(tensor({1}), true);
  Variable y = x;
  for (int i = 0; i < 10000; ++i) y = add(y, x);
  sum(y).backward();
  CHECK(values_of(x.grad()) == Floats{10001});
}

TEST_CASE("a deep graph may be dropped without backward") {
  const Variable x(tensor({1}), true);
  Variable y = x;
  for (int i = 0; i < 200000; ++i) y = reshape(y, {1});
  y = Variable();
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("a second backward through the same graph is refused before anything runs") {
  const Variable x(tensor({1, 2}), true);
  const Variable shared = scale(x, 2);
  Variable first = sum(shared), second = sum(scale(shared, 3));
  first.backward();
  CHECK_THROWS_WITH(first.backward(), Catch::Contains("freed"));
  CHECK_THROWS_WITH(second.backward(), Catch::Contains("freed") && Catch::Contains("scale"));
  CHECK(values_of(x.grad()) == Floats{2, 2});
}

TEST_CASE("backward says what it needs") {
  const Variable x(tensor({1, 2}), true);
  CHECK_THROWS_WITH(scale(x, 2).backward(), Catch::Contains("scalar") && Catch::Contains("[2]"));
  CHECK_THROWS_WITH(scale(x, 2).backward(tensor({1, 2, 3})), Catch::Contains("[3]"));
  CHECK_THROWS_WITH(sum(Variable(tensor({1}))).backward(), Catch::Contains("NoGrad"));
  CHECK_THROWS_WITH(Variable().backward(), Catch::Contains("undefined"));
}

TEST_CASE("backward of a leaf is its upstream") {
  Variable x(tensor({4}), true);
  x.backward();
  CHECK(values_of(x.grad()) == Floats{1});
}

TEST_CASE("without gradients no graph is built") {
  const Variable x(tensor({1, 2}), true), constant(tensor({1, 2}));
  {
    const NoGrad outer;
    { const NoGrad inner; }
    CHECK_FALSE(grad_enabled());
    CHECK(scale(x, 2).node() == nullptr);
    CHECK_FALSE(scale(x, 2).requires_grad());
  }
  CHECK(grad_enabled());
  CHECK(scale(x, 2).requires_grad());
  CHECK(scale(constant, 2).node() == nullptr);
}

TEST_CASE("an op without backward stops the gradient") {
  const Variable x(tensor({1, 2}), true);
  CHECK_FALSE(custom(x, {}).requires_grad());
}

TEST_CASE("leaves can be written, results cannot") {
  Variable x(tensor({1, 2}), true);
  Variable y = scale(x, 2);
  x.mutable_value().fill(5);
  CHECK(values_of(x.value()) == Floats{5, 5});
  CHECK_THROWS_WITH(y.mutable_value(), Catch::Contains("scale"));
  CHECK_THROWS_WITH(y.set_requires_grad(false), Catch::Contains("leaf"));
  const Context context;
  const Tensor labels = Tensor::zeros(context, {2}, DType::kInt64);
  CHECK_THROWS_WITH(Variable(labels, true), Catch::Contains("int64"));
}

TEST_CASE("an error in backward carries the forward's module path, and the graph is gone") {
  const Variable x(tensor({1, 2}), true);
  Variable y;
  {
    const ErrorScope scope("features.3 (Conv2d)");
    y = custom(x, [](const Tensor& dy, GradSink& sink) { sink.put(0, dy.reshape({1, 2})); });
  }
  Variable z = sum(y);
  CHECK_THROWS_WITH(z.backward(), Catch::Contains("features.3") && Catch::Contains("[1, 2]"));
  CHECK(ErrorScope::current().empty());
  CHECK_THROWS_WITH(y.backward(tensor({1, 1})), Catch::Contains("freed"));
}

TEST_CASE("asking for the gradient of an input that wants none is an error") {
  const Variable x(tensor({1, 2}), true), constant(tensor({1, 2}));
  const auto greedy = [](const Tensor& dy, GradSink& sink) {
    sink.put(1, dy);  // ignored
    sink.out(1);
  };
  Variable y = make_result({"greedy", {x, constant}, greedy}, tensor({0, 0}));
  CHECK_THROWS_WITH(y.backward(tensor({1, 1})), Catch::Contains("needs()"));
}

TEST_CASE("what a node saved is released as soon as it has run") {
  const Context context;
  const Variable x(tensor({1, 2}), true);
  const Watched watched;
  bool released = false;
  Variable y = custom(x, [&](const Tensor&, GradSink&) { released = watched.released(); });
  y = custom(
      y, [saved = watched.view(context)](const Tensor& dy, GradSink& sink) { sink.put(0, dy); });
  CHECK_FALSE(watched.released());
  y.backward(tensor({1, 1}));
  CHECK(released);
}

TEST_CASE("a value that no backward needs dies with its handle") {
  const Context context;
  const Variable x(tensor({1, 2}), true);
  const Watched watched;
  Variable y = make_result({"op", {x}, [](const Tensor& dy, GradSink& s) { s.put(0, dy); }},
                           watched.view(context));
  y = relu(y);  // saves its output, not its input
  CHECK(watched.released());
  y.backward(tensor({1, 1}));
  CHECK(values_of(x.grad()) == Floats{1, 1});
}
