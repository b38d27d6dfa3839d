// Chains in training steps that stay on a device: the CPU's bits, whatever ran before them.
#include "autograd/ops.h"
#include "kernels/batch_norm.h"
#include "kernels/device.h"
#include "nn/layers.h"
#include "quant/quantizer.h"
#include "quant/range_quantize.h"
#include "test/device/both.h"
#include "test/device/device_under_test.h"

using namespace halftone;

namespace {

// y = fc(x0) + fc(x1), on reals.
struct Twice : Module {
  explicit Twice(const Context& c) : Module(c) {
    fc = dynamic_cast<Linear*>(register_child("fc", make<Linear>(c, 6, 4)).get());
  }
  std::string type_name() const override { return "Twice"; }
  Variable forward(const std::vector<Variable>& x) override {
    const Variable first = (*fc)(x.at(0)), second = (*fc)(x.at(1));
    return add(first, second);
  }
  Linear* fc;
};

// Two layers, one behind the other.
struct Layers : Module {
  explicit Layers(const Context& c) : Module(c) {
    for (const char* name : {"fc1", "fc2"})
      fc.push_back(dynamic_cast<Linear*>(register_child(name, make<Linear>(c, 6, 6)).get()));
  }
  std::string type_name() const override { return "Layers"; }
  Variable forward(const std::vector<Variable>& x) override { return (*fc[1])((*fc[0])(x.at(0))); }
  std::vector<Linear*> fc;
};

// A model on the CPU and on the device, with the same weights and quantizers.
template <class M>
struct Pair {
  Pair(const test::Both& b, const std::string& name, const std::string& config)
      : here(make<M>(b.home())), there(make<M>(b.device())) {
    there->load_state_dict(here->state_dict());
    for (const auto& model : {here, there}) {
      quantizers.push_back(make_quantizer(name, *model, config));
      quantizers.back()->compress();
    }
  }
  void advance() {
    for (const auto& q : quantizers) q->advance_step();
  }
  std::shared_ptr<M> here, there;
  std::vector<std::unique_ptr<Quantizer>> quantizers;
};

std::vector<float> values(const Variable& v) { return v.value().to_vector<float>(); }

const char* const kAll = R"([{"quant_types": ["weight", "input", "output"], "quant_bits": 8,
  "op_types": ["Linear"], "quant_dtype": {"weight": "int", "input": "uint", "output": "uint"},
  "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine",
                   "output": "per_tensor_affine"}}])";
const char* const kInputs = R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
  "op_types": ["Linear"], "quant_dtype": {"weight": "int", "input": "uint"},
  "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"}}])";

// Whole numbers, whose sums are exact in any order.
Tensor whole_numbers(const Context& c, const Shape& shape) {
  std::vector<float> v(shape.numel());
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(static_cast<int>(i * 7 % 5) - 2);
  return Tensor::from(c, shape, v);
}

}  // namespace

TEST_CASE("codes and gradients of a layer's first call keep their grid when it runs again") {
  NEED_DEVICE();
  test::Both b;
  for (const char* config : {kAll, kInputs}) {
    Pair<Twice> pair(b, "QAT_Quantizer", config);
    for (int step = 1; step < 4; ++step) {
      INFO("step " << step);
      // The second call's values are of another size.
      const Tensor small = b.in({5, 6}, step), unit = b.in({5, 6}, 10 + step);
      Tensor large = Tensor::empty(b.home(), unit.shape());
      for (int64_t i = 0; i < unit.numel(); ++i)
        large.data<float>()[i] = 40 * unit.data<float>()[i] + 17;
      const Tensor dy = whole_numbers(b.home(), {5, 4});
      const Variable want = (*pair.here)({Variable(small), Variable(large)});
      const Variable got = (*pair.there)({Variable(b.there(small)), Variable(b.there(large))});
      REQUIRE(values(got) == values(want));
      Variable(want).backward(dy);
      Variable(got).backward(b.there(dy));
      REQUIRE(pair.there->fc->weight.grad().to_vector<float>() ==
              pair.here->fc->weight.grad().to_vector<float>());
      REQUIRE(pair.there->fc->bias.grad().to_vector<float>() ==
              pair.here->fc->bias.grad().to_vector<float>());
      for (const auto& model : {pair.here, pair.there})
        model->fc->weight.zero_grad(), model->fc->bias.zero_grad();
      pair.advance();
    }
  }
}

TEST_CASE("a quantizer that runs again leaves the first call's gradient and values alone") {
  NEED_DEVICE();
  test::Both b;
  for (const bool codes : {false, true}) {
    FakeQuantizeArgs args;
    args.spec.bits = 4;
    args.emits_codes = codes;
    const auto here = make<RangeQuantize>(b.home(), args);
    const auto there = make<RangeQuantize>(b.device(), args);
    for (int64_t step = 1; step < 4; ++step) {
      INFO("step " << step << ", codes " << codes);
      here->set_steps(step), there->set_steps(step);
      std::vector<Variable> x, moved, y, got;
      for (int call = 0; call < 3; ++call) {
        Tensor v = b.in({4, 9}, 10 * step + call);
        for (int64_t i = 0; i < v.numel(); ++i)
          v.data<float>()[i] *= static_cast<float>(1 + 9 * call);
        x.emplace_back(v, true), moved.emplace_back(b.there(v), true);
        y.push_back((*here)(x.back())), got.push_back((*there)(moved.back()));
      }
      const Tensor dy = b.in({4, 9}, 77);
      for (size_t call = 0; call < 3; ++call) {
        REQUIRE(values(got[call]) == values(y[call]));
        y[call].backward(dy), got[call].backward(b.there(dy));
        REQUIRE(moved[call].grad().to_vector<float>() == x[call].grad().to_vector<float>());
      }
    }
  }
}

TEST_CASE("weights that changed behind a forward of one layer are quantized anew") {
  NEED_DEVICE();
  test::Both b;
  const std::string learned = R"([{"quant_types": ["weight", "input"], "quant_bits": 4,
    "op_types": ["Linear"]}])";
  for (const std::string name : {"QAT_Quantizer", "LsqQuantizer"}) {
    Pair<Layers> pair(b, name, name[0] == 'L' ? learned : kInputs);
    for (int step = 1; step < 4; ++step) {
      const Tensor x = b.in({5, 6}, step);
      (*pair.here)(Variable(x)), (*pair.there)(Variable(b.there(x)));
      pair.advance();
    }
    const Tensor x = b.in({5, 6}, 9), weight = b.in({6, 6}, 10);
    const auto run = [&](size_t layer) {
      const auto want = values((*pair.here->fc[layer])(Variable(x)));
      REQUIRE(values((*pair.there->fc[layer])(Variable(b.there(x)))) == want);
    };
    run(0);
    for (const auto& model : {pair.here, pair.there})
      model->fc[1]->weight.mutable_value().copy_from(weight);
    run(1);
  }
}

// Weights of -a to a: their zero point, found from them, is 0.
TEST_CASE("affine weights of few bits have the CPU's integers, whatever their zero point") {
  NEED_DEVICE();
  test::Both b;
  for (const std::string bits : {"2", "4", "6", "7", "8"}) {
    for (const std::string dtype : {"int", "uint"}) {
      CAPTURE(bits, dtype);
      const std::string config = R"([{"quant_types": ["weight", "input"], "op_types": ["Linear"],
          "quant_bits": {"input": 8, "weight": )" +
                                 bits + R"(},
          "quant_dtype": {"weight": ")" +
                                 dtype + R"(", "input": "uint"},
          "quant_scheme": {"weight": "per_tensor_affine", "input": "per_tensor_affine"}}])";
      Pair<Layers> pair(b, "QAT_Quantizer", config);
      Tensor weight = b.in({6, 6}, 3);
      weight.data<float>()[0] = 4, weight.data<float>()[1] = -4;
      for (const auto& model : {pair.here, pair.there})
        model->fc[0]->weight.mutable_value().copy_from(weight);
      for (int step = 1; step < 4; ++step) {
        const Tensor x = b.in({5, 6}, step);
        const auto want = values((*pair.here->fc[0])(Variable(x)));
        REQUIRE(values((*pair.there->fc[0])(Variable(b.there(x)))) == want);
        pair.advance();
      }
    }
  }
}

namespace {

// Linear, batch norm, Hardtanh, Linear.
struct Normed : Module {
  explicit Normed(const Context& c) : Module(c) {
    register_child("fc1", make<Linear>(c, 6, 8));
    norm = dynamic_cast<BatchNorm*>(register_child("norm", make<BatchNorm>(c, 8, 1)).get());
    ActivationOptions clamp;
    clamp.kind = Activation::kHardtanh;
    register_child("act", make<ActivationLayer>(c, clamp));
    register_child("fc2", make<Linear>(c, 8, 4));
  }
  std::string type_name() const override { return "Normed"; }
  Variable forward(const std::vector<Variable>& x) override {
    Variable y = x.at(0);
    for (Slot& child : children()) y = (*child.get())(y);
    return y;
  }
  BatchNorm* norm;
};

int t_signs;  // launches of batch norm and sign in one

void check_fused_signs(test::Both& b, const std::string& config) {
  const auto fused = make<Normed>(b.device()), apart = make<Normed>(b.device());
  apart->load_state_dict(fused->state_dict());
  std::vector<std::unique_ptr<Quantizer>> quantizers;
  for (const auto& model : {fused, apart}) {
    quantizers.push_back(
        make_quantizer("BNNQuantizer", *model, config, nullptr, b.there(b.in({5, 6}, 1))));
    quantizers.back()->compress();
  }
  REQUIRE(fused->norm->fused_sign != nullptr);
  apart->norm->fused_sign = nullptr;
  for (int step = 1; step < 4; ++step) {
    t_signs = 0;
    const Tensor x = b.there(b.in({5, 6}, step)), dy = b.there(b.in({5, 4}, 20 + step));
    const Variable y = (*fused)(Variable(x)), z = (*apart)(Variable(x));
    REQUIRE(t_signs == (step == 1 ? 0 : 1));  // the first step looks at the values
    REQUIRE(values(y) == values(z));
    Variable(y).backward(dy), Variable(z).backward(dy);
    const auto one = fused->named_parameters(), other = apart->named_parameters();
    for (size_t i = 0; i < one.size(); ++i) {
      Variable p = one[i].second, q = other[i].second;
      REQUIRE(p.grad().to_vector<float>() == q.grad().to_vector<float>());
      p.zero_grad(), q.zero_grad();
    }
    for (const auto& q : quantizers) q->advance_step();
  }
  fused->eval(), t_signs = 0;
  (*fused)(Variable(b.there(b.in({5, 6}, 9))));
  REQUIRE(t_signs == 0);
}

}  // namespace

TEST_CASE("batch norm, Hardtanh and sign are one launch, with the bits of two") {
  NEED_DEVICE();
  auto& body = kernels::device_body<&kernels::batch_norm_sign>;
  static const auto launch = body;
  body = [](const Tensor& x, const kernels::Normalization& norm, Tensor& y) {
    ++t_signs;
    launch(x, norm, y);
  };
  test::Both b;
  check_fused_signs(b, R"([{"quant_types": ["weight", "input"], "quant_bits": 1,
    "op_names": ["fc2"]}])");
  check_fused_signs(b, R"([{"quant_types": ["weight"], "quant_bits": 1, "op_names": ["fc2"]},
    {"quant_types": ["output"], "quant_bits": 1, "op_names": ["act"]}])");
  body = launch;
}
