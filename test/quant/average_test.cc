// Average pooling of codes: windows of every kind, against the definition.
#include <catch2/catch.hpp>
#include <cmath>

#include "nn/layers.h"
#include "quant/quantizer.h"
#include "test/quant/chain_oracle.h"

using namespace halftone;
using namespace halftone::test;

namespace {

const std::string kLayers = R"({"quant_types": ["weight", "input"], "quant_bits": 8,
    "op_names": ["a", "b"], "quant_dtype": {"weight": "int"},
    "quant_scheme": {"weight": "per_channel_symmetric"}},
    {"quant_types": ["output"], "quant_bits": 8, "op_names": ["relu"]})";

// a - relu - pool - b.
struct Pooled {
  Pooled(std::shared_ptr<Module> pool, const std::string& more = "",
         const std::string& name = "QAT_Quantizer")
      : net(make<Sequential>(c)) {
    net->append("a", make<Conv2d>(c, Conv2dArgs{2, 4, 3, 1, 1})).append("relu", make_relu(c));
    net->append("pool", std::move(pool)).append("b", make<Conv2d>(c, Conv2dArgs{4, 3, 1}));
    const std::string list = "[" + (name == "QAT_Quantizer" ? kLayers : lsq_layers()) +
                             (more.empty() ? "" : ", ") + more + "]";
    q = make_quantizer(name, *net, list, nullptr, Tensor::zeros(c, {1, 8, 6, 2}));
    q->compress();
  }
  static std::string lsq_layers() {
    return R"({"quant_types": ["weight", "input"], "quant_bits": 4, "op_names": ["a", "b"]},
      {"quant_types": ["output"], "quant_bits": 8, "op_names": ["relu"]})";
  }
  Variable run(int k) { return (*net)(Variable(spread(c, {3, 8, 6, 2}, -1, 1.3f, 3 + 2 * k))); }
  // What the pooling reads and makes, in evaluation.
  std::pair<Codes, Variable> evaluate() {
    const EvaluationMode evaluation(*net);
    const NoGrad no_grad;
    Variable x(spread(c, {3, 8, 6, 2}, -1, 1.2f, 11));
    for (int i = 0; i < 2; ++i) x = net->children()[i](x);
    REQUIRE(x.codes() != nullptr);
    return {*x.codes(), net->children()[2](x)};
  }
  Context c{two_threads()};
  std::shared_ptr<Sequential> net;
  std::unique_ptr<Quantizer> q;
};

struct Window {
  int kernel_h, kernel_w, stride_h, stride_w, pad;
};

void check_codes(const Codes& x, const Codes& y, const Window& w) {
  const Shape &from = x.values.shape(), &to = y.values.shape();
  const float m = x.params.scale / (y.params.scale * static_cast<float>(w.kernel_h * w.kernel_w));
  int64_t different = 0;
  for (int64_t i = 0; i < y.values.numel(); ++i) {
    const int64_t c = i % to[3], col = i / to[3] % to[2], row = i / to[3] / to[2] % to[1],
                  n = i / to[3] / to[2] / to[1];
    int32_t sum = 0;
    for (int64_t a = row * w.stride_h - w.pad; a < row * w.stride_h - w.pad + w.kernel_h; ++a)
      for (int64_t b = col * w.stride_w - w.pad; b < col * w.stride_w - w.pad + w.kernel_w; ++b) {
        if (a < 0 || b < 0 || a >= from[1] || b >= from[2]) continue;
        sum += x.values.data<uint8_t>()[((n * from[1] + a) * from[2] + b) * from[3] + c] -
               x.params.zero_point;
      }
    const int64_t code = nearest_even(static_cast<double>(static_cast<float>(sum) * m));
    const int32_t z = y.params.zero_point;
    REQUIRE(y.values.data<uint8_t>()[i] == clamp64(code, y.params.qmin - z, y.params.qmax - z) + z);
    different += y.values.data<uint8_t>()[i] != y.values.data<uint8_t>()[0];
  }
  REQUIRE(different > 0);
}

std::shared_ptr<Module> square(const Context& c, int kernel, int stride, int padding) {
  return make<AvgPool2d>(c, pool_options(kernel, stride, padding));
}

}  // namespace

TEST_CASE("averages of codes over windows are codes of integer sums, in evaluation") {
  const Context c(two_threads());
  struct Row {
    std::shared_ptr<Module> pool;
    Window window;
  };
  const auto rows = [&c] {
    return std::vector<Row>{{square(c, 2, 2, 0), {2, 2, 2, 2, 0}},
                            {square(c, 3, 1, 1), {3, 3, 1, 1, 1}},
                            {square(c, 3, 2, 1), {3, 3, 2, 2, 1}},
                            {make<AdaptiveAvgPool2d>(c, 2, 3), {4, 2, 4, 2, 0}},
                            {make<AdaptiveAvgPool2d>(c, 1, 1), {8, 6, 8, 6, 0}}};
  };
  for (const std::string name : {"QAT_Quantizer", "LsqQuantizer"}) {
    for (const std::string own : {"", R"({"quant_types": ["output"], "quant_bits": 8,
                                          "op_names": ["pool"]})"}) {
      for (const Row& row : rows()) {
        CAPTURE(name, own, row.window.kernel_h, row.window.stride_h, row.window.pad);
        Pooled p(row.pool, own, name);
        REQUIRE(p.q->float_layers().empty());
        REQUIRE(p.q->averages().size() == 1);
        for (int k = 0; k < 3; ++k) {
          Variable y = p.run(k);
          y.backward(spread(p.c, y.shape(), -1, 1, 3));
          p.q->advance_step();
        }
        const auto [x, y] = p.evaluate();
        REQUIRE(y.codes() != nullptr);
        check_codes(x, *y.codes(), row.window);
      }
    }
  }
}

TEST_CASE("averages of codes in training: means of the sums, the gradient of an average") {
  Context c{two_threads()};
  Pooled p(square(c, 3, 2, 1));
  p.run(0);
  const Variable x(Codes{Tensor::from<uint8_t>(c, Shape{1, 3, 3, 1}, {0, 10, 20, 3, 5, 7, 1, 2, 9}),
                         QuantParams{0.5f, 4, 0, 255}});
  const Variable leaf(Tensor::zeros(c, {1, 3, 3, 1}), true);
  const Variable in = as_codes(leaf, *x.codes());
  Variable y = p.net->children()[2](in);
  REQUIRE(y.codes() == nullptr);
  const float ninth = 0.5f / 9.0f;  // padding counts; codes around the zero point 4
  REQUIRE(y.value().to_vector<float>() == std::vector<float>{2 * ninth, (6 + 16 + 1 + 3) * ninth,
                                                             (-1 + 1 - 3 - 2) * ninth,
                                                             (1 + 3 - 2 + 5) * ninth});
  y.backward(Tensor::from<float>(c, {1, 2, 2, 1}, {9, 18, 27, 36}));
  REQUIRE(leaf.grad().to_vector<float>() == std::vector<float>{1, 3, 2, 4, 10, 6, 3, 7, 4});
}

TEST_CASE("averages of codes in evaluation: the gradient of the quantized means") {
  const Context c{two_threads()};
  for (const std::string name : {"QAT_Quantizer", "LsqQuantizer"}) {
    Pooled p(square(c, 3, 2, 1), "", name);
    for (int k = 0; k < 2; ++k) p.run(k);
    p.net->eval();
    Module& pool = *p.net->children()[2].get();
    FakeQuantize& q = *p.q->averages().at(0)->output;
    // The last window's mean is 280 steps of the result.
    const Codes codes{Tensor::from<uint8_t>(c, Shape{1, 3, 3, 1}, {4, 5, 6, 4, 5, 4, 4, 4, 255}),
                      QuantParams{10 * q.params().scale, 4, 0, 255}};
    std::vector<float> dx[2], learned[2];
    for (const bool training : {false, true}) {
      pool.train(training);  // means, and the quantizer behind them
      const Variable leaf(Tensor::zeros(c, {1, 3, 3, 1}), true);
      Variable y = pool(as_codes(leaf, codes));
      REQUIRE((y.codes() == nullptr) == training);
      if (training) y = q(y);
      for (Variable v : q.learned()) v.zero_grad();
      y.backward(Tensor::from<float>(c, {1, 2, 2, 1}, {9, 18, 27, 36}));
      dx[training] = leaf.grad().to_vector<float>();
      for (const Variable& v : q.learned()) learned[training] = v.grad().to_vector<float>();
    }
    REQUIRE(dx[0] == dx[1]);
    REQUIRE(learned[0] == learned[1]);
    REQUIRE(dx[0][1] > 0);
    REQUIRE(dx[0][8] == 0);  // clipped
  }
}

TEST_CASE("averages over windows that differ, or without a quantizer, stay floats and say why") {
  const Context c(two_threads());
  Pool2dOptions inside = pool_options(3, 2, 1), past = pool_options(3, 2, 0);
  inside.count_include_pad = false;
  past.ceil_mode = true;
  for (const std::shared_ptr<Module>& pool :
       std::vector<std::shared_ptr<Module>>{make<AvgPool2d>(c, inside), make<AvgPool2d>(c, past),
                                            make<AdaptiveAvgPool2d>(c, 3, 2)}) {
    CAPTURE(pool->describe());
    Pooled p(pool);
    REQUIRE(p.q->averages().empty());
    REQUIRE_THAT(p.q->float_layers().at("pool"), Catch::Contains("as many values"));
    p.run(0);
    const auto [x, y] = p.evaluate();
    REQUIRE(y.codes() == nullptr);
  }
  // Of 9 x 7 ceil_mode reaches nowhere else.
  REQUIRE(equal_windows(AvgPool2d(c, past), {1, 9, 7, 4}).has_value());
}
