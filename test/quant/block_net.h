// A residual block, and a run of it under a quantizer.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "autograd/ops.h"
#include "nn/optimizer.h"
#include "quant/quantizer.h"
#include "test/quant/chain_oracle.h"

namespace halftone::test {

inline const char* const kLayers = R"({"quant_types": ["weight", "input"], "quant_bits": 8,
  "op_types": ["Conv2d"], "quant_dtype": {"weight": "int", "input": "uint"},
  "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"}})";

inline std::string with(const std::string& more) {
  return "[" + std::string(kLayers) + ", " + more + "]";
}

inline std::string outputs(const std::string& type, int bits = 8) {
  return R"({"quant_types": ["output"], "quant_bits": )" + std::to_string(bits) +
         R"(, "op_types": [")" + type + "\"]}";
}

// y = a + b where a is signed (zero at 128), b and y are not, all on one scale; with a ReLU.
inline void check_sum_of_codes(const Codes& a, const Codes& b, const Codes& y) {
  REQUIRE((a.params.zero_point == 128 && b.params.zero_point == 0));
  REQUIRE(y.params.zero_point == 0);
  REQUIRE((a.params.scale == y.params.scale && b.params.scale == y.params.scale));
  for (int64_t i = 0; i < y.values.numel(); ++i) {
    const int qa = a.values.data<uint8_t>()[i], qb = b.values.data<uint8_t>()[i];
    REQUIRE(y.values.data<uint8_t>()[i] == std::min(std::max(qa + qb - 128, 0), 255));
  }
}

// relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(relu0(conv0(x)))), and a last convolution.
struct Block : Module {
  Block(const Context& c, bool wide) : Module(c) {
    const int out = wide ? 6 : 4;
    register_child("conv0", make<Conv2d>(c, Conv2dArgs{2, 4, 3, 1, 1}));
    register_child("relu0", make_relu(c));
    register_child("conv1", make<Conv2d>(c, Conv2dArgs{4, out, 3, wide ? 2 : 1, 1}));
    register_child("bn1", make<BatchNorm>(c, out, 2));
    register_child("relu1", make_relu(c));
    register_child("conv2", make<Conv2d>(c, Conv2dArgs{out, out, 3, 1, 1}));
    register_child("bn2", make<BatchNorm>(c, out, 2));
    register_child("shortcut", wide ? make<SubsamplePad>(c, SubsamplePadArgs{2, 1, 1}) : nullptr);
    register_child("add", make<Add>(c));
    register_child("relu2", make_relu(c));
    register_child("conv3", make<Conv2d>(c, Conv2dArgs{out, 3, 1}));
  }
  std::string type_name() const override { return "Block"; }
  Slot& at(const std::string& name) {
    for (Slot& s : children()) {
      if (s.name() == name) return s;
    }
    throw std::logic_error(name);
  }
  Variable forward(const std::vector<Variable>& in) override {
    trunk = at("relu0")(at("conv0")(in.at(0)));
    branch = at("bn2")(at("conv2")(at("relu1")(at("bn1")(at("conv1")(trunk)))));
    skip = at("shortcut")(trunk);
    sum = at("relu2")((*at("add").get())({branch, skip}));
    return at("conv3")(sum);
  }
  Variable trunk, branch, skip, sum;
};

struct BlockRun {
  explicit BlockRun(const std::string& config, bool wide = false, bool integer = true,
                    int64_t start_step = 0, const std::string& name = "QAT_Quantizer")
      : c(two_threads()), net(make<Block>(c, wide)) {
    store = std::make_unique<ParameterStore>(*net);
    optimizer = make_optimizer(*store, {});
    if (config.empty()) return;
    QuantizerOptions o;
    o.integer = integer;
    o.start_step = start_step;
    q = make_quantizer(name, *net, config, optimizer.get(), batch(0), o);
    q->compress();
  }
  Tensor batch(int k) const { return spread(c, {3, 6, 6, 2}, -1, 1 + 0.1f * k, 7 + 2 * k); }
  float step(int k) {
    optimizer->zero_grad();
    const Variable y = (*net)(Variable(batch(k)));
    Variable loss = mse_loss(y, spread(c, y.shape(), -1, 1, 5));
    loss.backward();
    optimizer->step();
    return loss.value().item<float>();
  }
  std::vector<float> evaluate() {
    NoGrad no_grad;
    net->eval();
    const auto y = (*net)(Variable(batch(9))).value().to_vector<float>();
    net->train();
    return y;
  }
  std::string path_of(const std::string& module, QuantType type) {
    for (const QuantPoint& p : q->points()) {
      if (p.module == module && p.type == type) return p.quantizer->path();
    }
    return "";
  }
  Context c;
  std::shared_ptr<Block> net;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Quantizer> q;
};

inline const Codes& codes_of(const Variable& v) {
  REQUIRE(v.codes() != nullptr);
  return *v.codes();
}

}  // namespace halftone::test
