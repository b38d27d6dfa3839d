// Residual sums and concatenations on codes, and the scales that their edges share.
#include <catch2/catch.hpp>
#include <cmath>

#include "autograd/ops.h"
#include "nn/optimizer.h"
#include "nn/zoo/zoo.h"
#include "quant/quantizer.h"
#include "quant/scale_group.h"
#include "test/quant/chain_oracle.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

namespace {

const char* const kLayers = R"({"quant_types": ["weight", "input"], "quant_bits": 8,
  "op_types": ["Conv2d"], "quant_dtype": {"weight": "int", "input": "uint"},
  "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"}})";

std::string with(const std::string& more) { return "[" + std::string(kLayers) + ", " + more + "]"; }

std::string outputs(const std::string& type, int bits = 8) {
  return R"({"quant_types": ["output"], "quant_bits": )" + std::to_string(bits) +
         R"(, "op_types": [")" + type + "\"]}";
}

// relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(relu0(conv0(x)))), and a last convolution.
struct Block : Module {
  Block(const Context& c, bool wide) : Module(c) {
    const int out = wide ? 6 : 4;
    register_child("conv0", make<Conv2d>(c, Conv2dArgs{2, 4, 3, 0, 1, 1}));
    register_child("relu0", make_relu(c));
    register_child("conv1", make<Conv2d>(c, Conv2dArgs{4, out, 3, 0, wide ? 2 : 1, 1}));
    register_child("bn1", make<BatchNorm>(c, out, 2));
    register_child("relu1", make_relu(c));
    register_child("conv2", make<Conv2d>(c, Conv2dArgs{out, out, 3, 0, 1, 1}));
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

struct Run {
  explicit Run(const std::string& config, bool wide = false, bool integer = true,
               int64_t start_step = 0)
      : c(two_threads()), net(make<Block>(c, wide)) {
    store = std::make_unique<ParameterStore>(*net);
    optimizer = make_optimizer(*store, {});
    if (config.empty()) return;
    QuantizerOptions o;
    o.integer = integer;
    o.start_step = start_step;
    q = make_quantizer("QAT_Quantizer", *net, config, optimizer.get(), batch(0), o);
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

const Codes& codes_of(const Variable& v) {
  REQUIRE(v.codes() != nullptr);
  return *v.codes();
}

}  // namespace

TEST_CASE("a residual sum: branch z = 128, trunk and output z = 0, one scale, codes that add") {
  for (const bool wide : {false, true}) {
    CAPTURE(wide);
    Run run(with(outputs("Add")), wide);
    REQUIRE(run.q->warnings().empty());
    REQUIRE(run.q->sums().size() == 1);
    for (const char* name : {"conv0", "conv1", "conv2", "conv3", "add"})
      REQUIRE(run.q->integer_obstacle(name).empty());
    REQUIRE(run.path_of("add", QuantType::kOutput) == "relu2.activation_post_process");
    REQUIRE(run.path_of("conv1", QuantType::kInput) == "relu0.activation_post_process");
    REQUIRE(run.path_of("conv2", QuantType::kInput) == "relu1.activation_post_process");
    REQUIRE(run.path_of("conv3", QuantType::kInput) == "relu2.activation_post_process");
    REQUIRE(run.path_of("bn2", QuantType::kOutput) == "bn2.activation_post_process");
    for (int k = 0; k < 6; ++k) {
      run.step(k);
      if (k == 0) continue;  // the first forward finds the ranges
      for (const bool train : {true, false}) {
        if (!train) run.evaluate();
        const Codes &a = codes_of(run.net->branch), &b = codes_of(run.net->skip),
                    &y = codes_of(run.net->sum);
        REQUIRE(codes_of(run.net->trunk).params.zero_point == 0);
        REQUIRE((a.params.zero_point == 128 && b.params.zero_point == 0));
        REQUIRE(y.params.zero_point == 0);
        REQUIRE((a.params.scale == y.params.scale && b.params.scale == y.params.scale));
        int64_t positive = 0;
        for (int64_t i = 0; i < y.values.numel(); ++i) {
          const int qa = a.values.data<uint8_t>()[i], qb = b.values.data<uint8_t>()[i];
          REQUIRE(y.values.data<uint8_t>()[i] == std::min(std::max(qa + qb - 128, 0), 255));
          positive += y.values.data<uint8_t>()[i] > 0;
        }
        REQUIRE(positive > y.values.numel() / 4);
        if (!wide) continue;
        for (int64_t i = 0; i < b.values.numel(); i += 6) {  // option A's channels of zeros
          REQUIRE(b.values.data<uint8_t>()[i] == 0);
          REQUIRE(b.values.data<uint8_t>()[i + 5] == 0);
        }
      }
    }
  }
}

TEST_CASE("the shared scale holds every member's range, and moves between forwards only") {
  Run run(with(outputs("Add")));
  run.step(0);
  for (int k = 1; k < 5; ++k) {
    float wanted = 0;
    // The members' ranges before the step, the first one's after it.
    std::map<std::string, kernels::Range> before;
    for (const QuantPoint& p : run.q->points())
      before[p.quantizer->path()] = p.quantizer->ranges()[0];
    run.step(k);
    for (const std::string name : {"relu0", "bn2", "relu2"}) {
      auto& member =
          dynamic_cast<GroupQuantize&>(*run.net->find(name + ".activation_post_process"));
      const kernels::Range r =
          name == "relu0" ? member.ranges()[0] : before[name + ".activation_post_process"];
      const float need = name == "bn2" ? std::max(-r.low, r.high) / 127.5f : r.high / 255.0f;
      wanted = std::max(wanted, need);
    }
    for (const std::string name : {"relu0", "bn2", "relu2"}) {
      auto& member =
          dynamic_cast<GroupQuantize&>(*run.net->find(name + ".activation_post_process"));
      REQUIRE(member.params().scale == wanted);
    }
  }
}

TEST_CASE("the float form of the sum gives the same codes") {
  Run integer(with(outputs("Add"))), simulated(with(outputs("Add")), false, false);
  for (int k = 0; k < 4; ++k) {
    // Dequantized operands of the convolutions round differently: few codes differ, by one.
    REQUIRE(integer.step(k) == Approx(simulated.step(k)).epsilon(0.02));
  }
  for (const std::string name : {"relu0", "bn2", "relu2"}) {
    const std::string path = name + ".activation_post_process";
    auto& theirs = dynamic_cast<GroupQuantize&>(*integer.net->find(path));
    theirs.set_ranges(theirs.ranges());
    dynamic_cast<GroupQuantize&>(*simulated.net->find(path)).set_ranges(theirs.ranges());
  }
  integer.evaluate();
  // From the same operands: exactly.
  const Codes& y = codes_of(integer.net->sum);
  NoGrad no_grad;
  const Variable a(integer.net->branch.value()), b(integer.net->skip.value());
  simulated.net->eval();
  const Variable s = simulated.net->at("relu2")((*simulated.net->at("add").get())({a, b}));
  for (int64_t i = 0; i < y.values.numel(); ++i) {
    REQUIRE(s.value().data<float>()[i] ==
            y.params.scale * static_cast<float>(y.values.data<uint8_t>()[i]));
  }
}

TEST_CASE("the gradient of a sum passes inside activation and codes, untouched, to both inputs") {
  Run run(with(outputs("Add")));
  for (int k = 0; k < 3; ++k) run.step(k);
  run.net->eval();
  (*run.net)(Variable(run.batch(1)));
  const Codes y = codes_of(run.net->sum);
  const std::vector<uint8_t> qa = {100, 128, 129, 255, 255, 255, 0, 200},
                             qb = {28, 0, 0, 127, 128, 129, 255, 10};
  const auto input = [&](const std::vector<uint8_t>& q, int zero) {
    QuantParams p = y.params;
    p.zero_point = zero;
    return Codes{Tensor::from(run.c, Shape{1, 1, 2, 4}, q), p};
  };
  const Variable a(spread(run.c, {1, 1, 2, 4}, -1, 1), true),
      b(spread(run.c, {1, 1, 2, 4}, -1, 1), true);
  const auto as_codes = [](const Variable& leaf, Codes codes) {
    return make_result({"test", {leaf}, [](const Tensor& dy, GradSink& sink) { sink.put(0, dy); }},
                       std::move(codes));
  };
  Variable s = run.net->at("relu2")(
      (*run.net->at("add").get())({as_codes(a, input(qa, 128)), as_codes(b, input(qb, 0))}));
  REQUIRE(codes_of(s).values.to_vector<uint8_t>() ==
          std::vector<uint8_t>{0, 0, 1, 254, 255, 255, 127, 82});
  const Tensor up = Tensor::from<float>(run.c, {1, 1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
  s.backward(up);
  // ReLU's derivative at 0 is 0; 256 is past the last code.
  const std::vector<float> want = {0, 0, 3, 4, 5, 0, 7, 8};
  REQUIRE(a.grad().to_vector<float>() == want);
  REQUIRE(b.grad().to_vector<float>() == want);
  REQUIRE(up.to_vector<float>() == std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8});
}

TEST_CASE("the quantizer of the shortcut gives its edge a scale of its own behind it") {
  const std::string trunk_too =
      R"({"quant_types": ["output"], "quant_bits": 8, "op_names": ["relu0"]})";
  Run run(with(outputs("Add") + ", " + outputs("SubsamplePad") + ", " + trunk_too), true);
  REQUIRE(run.q->warnings().empty());
  REQUIRE(run.path_of("shortcut", QuantType::kOutput) == "shortcut.activation_post_process");
  for (int k = 0; k < 5; ++k) run.step(k);
  run.evaluate();
  const Codes &trunk = codes_of(run.net->trunk), &skip = codes_of(run.net->skip),
              &y = codes_of(run.net->sum);
  REQUIRE(trunk.params.scale != skip.params.scale);
  REQUIRE(skip.params.scale == y.params.scale);
  for (int64_t n = 0; n < 3; ++n)
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 3; ++j)
        for (int64_t k = 0; k < 6; ++k) {
          const int code = skip.values.data<uint8_t>()[((n * 3 + i) * 3 + j) * 6 + k];
          if (k == 0 || k == 5) {
            REQUIRE(code == 0);
            continue;
          }
          // A table of the trunk's codes.
          const float v = trunk.params.scale *
                          trunk.values.data<uint8_t>()[((n * 6 + 2 * i) * 6 + 2 * j) * 4 + k - 1];
          REQUIRE(code == clamp64(nearest_even(v / skip.params.scale), 0, 255));
        }
}

TEST_CASE("sums: warm-up is float, training learns, a resumed run has the same bits") {
  for (const bool integer : {true, false}) {
    CAPTURE(integer);
    Run plain(""), run(with(outputs("Add")), false, integer, 4);
    for (int k = 0; k < 3; ++k) REQUIRE(plain.step(k) == run.step(k));
    REQUIRE(plain.evaluate() != run.evaluate());  // the ranges are known: what would deploy
    Run again(with(outputs("Add")), false, integer, 4);
    again.net->load_state_dict(run.net->state_dict());
    again.optimizer->load_state_dict(run.optimizer->state_dict());
    for (int k = 3; k < 8; ++k) REQUIRE(run.step(k) == again.step(k));
    REQUIRE(run.evaluate() == again.evaluate());
    const float before = run.step(0);
    float after = 0;
    for (int k = 0; k < 60; ++k) after = run.step(0);
    REQUIRE(after < 0.8f * before);
  }
}

TEST_CASE("sums: evaluation before training is float; calibration files bring the shared scale") {
  Run fresh(with(outputs("Add")));
  REQUIRE(fresh.evaluate() == Run("").evaluate());
  Run trained(with(outputs("Add")));
  for (int k = 0; k < 3; ++k) trained.step(k);
  const TempFolder folder;
  trained.q->export_model(folder / "m.safetensors", folder / "c.json");
  fresh.q->load_calibration_config(folder / "c.json");
  for (const std::string name : {"relu0", "bn2", "relu2"}) {
    auto& member =
        dynamic_cast<GroupQuantize&>(*fresh.net->find(name + ".activation_post_process"));
    REQUIRE(member.initialised());
    auto& theirs =
        dynamic_cast<GroupQuantize&>(*trained.net->find(name + ".activation_post_process"));
    REQUIRE(member.ranges()[0].high == theirs.ranges()[0].high);
  }
  fresh.evaluate();
  REQUIRE(codes_of(fresh.net->sum).params.scale == codes_of(fresh.net->branch).params.scale);
}

TEST_CASE("a convolution with fewer input bits has a table before it; the trunk keeps 8") {
  std::string config = with(outputs("Add"));
  config.replace(config.find("\"quant_bits\": 8"), 15,
                 "\"quant_bits\": {\"weight\": 8, \"input\": 4}");
  Run run(config);
  REQUIRE(run.path_of("conv1", QuantType::kInput) == "conv1.input_fake_quant");
  REQUIRE(run.q->integer_obstacle("conv1").empty());
  for (int k = 0; k < 3; ++k) run.step(k);
  run.evaluate();
  REQUIRE(codes_of(run.net->trunk).params.qmax == 255);
}

TEST_CASE("where a sum has no integer form it says why, and trains on the float path") {
  struct Row {
    std::string config, why;
  };
  std::string per_channel = outputs("Add");
  per_channel.insert(1, R"("quant_scheme": "per_channel_affine", )");
  std::string mixed = outputs("Add") + ", " + outputs("BatchNorm2d", 4);
  for (const Row& row :
       {Row{with(per_channel), "per-channel activations"},
        Row{with(outputs("Add", 12)), "more than 8 bits"}, Row{with(mixed), "different bits"}}) {
    CAPTURE(row.why);
    Run run(row.config);
    REQUIRE_THAT(run.q->integer_obstacle("add"), Catch::Contains(row.why));
    REQUIRE_THAT(run.q->warnings().at(0), Catch::Contains("add") && Catch::Contains(row.why));
    REQUIRE(run.q->sums().empty());
    for (int k = 0; k < 3; ++k) REQUIRE(std::isfinite(run.step(k)));
    REQUIRE(run.evaluate() != Run("").evaluate());
  }
  const Context c(two_threads());
  auto net = make<Block>(c, false);
  auto lsq = make_quantizer("LsqQuantizer", *net, "[" + outputs("Add") + "]", nullptr,
                            Tensor::zeros(c, {1, 6, 6, 2}));
  lsq->compress();
  REQUIRE_THAT(lsq->integer_obstacle("add"), Catch::Contains("LsqQuantizer"));
}

namespace {

struct Direct : Module {  // conv(x) + x
  explicit Direct(const Context& c) : Module(c) {
    conv = &register_child("conv", make<Conv2d>(c, Conv2dArgs{2, 2, 3, 0, 1, 1}));
    add = &register_child("add", make<Add>(c));
  }
  std::string type_name() const override { return "Direct"; }
  Variable forward(const std::vector<Variable>& in) override {
    return (*add->get())({(*conv)(in.at(0)), in.at(0)});
  }
  Slot *conv, *add;
};

struct Fork : Module {  // conv3(concat(relu(conv1(x)), conv2(x) or relu(conv2(x))))
  Fork(const Context& c, bool both) : Module(c) {
    conv1 = &register_child("conv1", make<Conv2d>(c, Conv2dArgs{2, 3, 3, 0, 1, 1}));
    relu1 = &register_child("relu1", make_relu(c));
    conv2 = &register_child("conv2", make<Conv2d>(c, Conv2dArgs{2, 4, 3, 0, 1, 1}));
    relu2 = &register_child("relu2", both ? make_relu(c) : nullptr);
    concat = &register_child("concat", make<Concat>(c));
    conv3 = &register_child("conv3", make<Conv2d>(c, Conv2dArgs{7, 2, 1}));
  }
  std::string type_name() const override { return "Fork"; }
  Variable forward(const std::vector<Variable>& in) override {
    a = (*relu1)((*conv1)(in.at(0)));
    b = (*relu2)((*conv2)(in.at(0)));
    joined = (*concat->get())({a, b});
    return (*conv3)(joined);
  }
  Slot *conv1, *relu1, *conv2, *relu2, *concat, *conv3;
  Variable a, b, joined;
};

}  // namespace

TEST_CASE("the network's input cannot be added as codes: it says so") {
  const Context c(two_threads());
  auto net = make<Direct>(c);
  auto q = make_quantizer("QAT_Quantizer", *net, with(outputs("Add")), nullptr,
                          Tensor::zeros(c, {1, 4, 4, 2}));
  q->compress();
  REQUIRE_THAT(q->integer_obstacle("add"), Catch::Contains("network's input"));
  const Variable x(spread(c, {2, 4, 4, 2}, -1, 1));
  Variable y = (*net)(x);
  REQUIRE(y.codes() != nullptr);  // the sum of floats, quantized
}

TEST_CASE("a concatenation: one grid for its inputs, codes joined as they are") {
  for (const bool both : {true, false}) {
    CAPTURE(both);
    const Context c(two_threads());
    auto net = make<Fork>(c, both);
    auto q = make_quantizer("QAT_Quantizer", *net, with(outputs("Concat")), nullptr,
                            Tensor::zeros(c, {1, 4, 4, 2}));
    q->compress();
    REQUIRE(q->warnings().empty());
    REQUIRE(q->integer_obstacle("conv3").empty());
    for (int k = 0; k < 3; ++k) {
      Variable y = (*net)(Variable(spread(c, {2, 4, 4, 2}, -1, 1 + 0.2f * k, 7 + k)));
      y.backward(spread(c, y.shape(), -1, 1, 3));
      q->advance_step();
    }
    for (const bool train : {true, false}) {
      net->train(train);
      (*net)(Variable(spread(c, {2, 4, 4, 2}, -1, 1.1f, 9)));
      const Codes &a = codes_of(net->a), &b = codes_of(net->b), &y = codes_of(net->joined);
      REQUIRE(a.params == b.params);
      REQUIRE(a.params == y.params);
      REQUIRE(a.params.zero_point == (both ? 0 : 128));
      for (int64_t i = 0; i < y.values.numel(); ++i) {
        const int64_t row = i / 7, k = i % 7;
        REQUIRE(y.values.data<uint8_t>()[i] == (k < 3 ? a.values.data<uint8_t>()[row * 3 + k]
                                                      : b.values.data<uint8_t>()[row * 4 + k - 3]));
      }
    }
  }
}

namespace {

// Trains a zoo network on one batch; returns first and last loss.
std::pair<float, float> overfit(const std::string& name, int steps, std::unique_ptr<Quantizer>& q,
                                const Context& c, Model& model) {
  ParameterStore store(*model.module);
  OptimizerOptions options;
  options.lr = 1e-3;
  auto optimizer = make_optimizer(store, options);
  q = make_quantizer("QAT_Quantizer", *model.module, with(outputs("Add")), optimizer.get(),
                     Tensor::zeros(c, model.batch_shape(1)));
  q->compress();
  const Tensor x = spread(c, model.batch_shape(4), -1, 1, 7);
  const Tensor labels = Tensor::from(c, Shape{4}, std::vector<int64_t>{0, 1, 2, 3});
  std::pair<float, float> losses;
  for (int k = 0; k < steps; ++k) {
    optimizer->zero_grad();
    Variable loss = cross_entropy((*model.module)(Variable(x)), labels);
    loss.backward();
    optimizer->step();
    (k == 0 ? losses.first : losses.second) = loss.value().item<float>();
  }
  CAPTURE(name);
  return losses;
}

}  // namespace

TEST_CASE(
    "ResNet-20 with quantized sums: one scale along the trunk, every layer integer, it learns") {
  const Context c(two_threads());
  Model model = make_model("resnet20", c);
  std::unique_ptr<Quantizer> q;
  const auto [first, last] = overfit("resnet20", 8, q, c, model);
  REQUIRE(q->sums().size() == 9);
  REQUIRE(q->warnings().empty());
  for (const ChainPtr& chain : q->chains()) {
    CAPTURE(chain->anchor->path());
    REQUIRE(q->integer_obstacle(chain->anchor->path()).empty());
    if (chain->anchor->path() == "conv1" || chain->anchor->path() == "linear") continue;
    REQUIRE(chain->input == nullptr);  // it reads its edge's codes
    REQUIRE(chain->output != nullptr);
  }
  for (const SumPtr& sum : q->sums())
    REQUIRE(sum->output->params().scale == q->sums()[0]->output->params().scale);
  REQUIRE(last < 0.5f * first);
}

TEST_CASE("MobileNetV2 with quantized sums learns, every layer integer") {
  const Context c(two_threads());
  ModelOptions options;
  options.width = 0.25;
  Model model = make_model("mobilenet_v2", c, options);
  std::unique_ptr<Quantizer> q;
  const auto [first, last] = overfit("mobilenet_v2", 12, q, c, model);
  REQUIRE(q->sums().size() == 12);
  REQUIRE(q->warnings().empty());
  for (const ChainPtr& chain : q->chains())
    REQUIRE(q->integer_obstacle(chain->anchor->path()).empty());
  for (const SumPtr& sum : q->sums()) REQUIRE(sum->output->params().zero_point == 128);
  REQUIRE(last < 0.7f * first);
}

TEST_CASE("who gives up a quantizer for a shared scale must agree on start and range") {
  struct Row {
    std::string inputs, sums, key;
  };
  const auto layers = [](const std::string& more) {
    std::string text = kLayers;
    return text.insert(1, more);
  };
  const auto sums = [](const std::string& more) { return outputs("Add").insert(1, more); };
  for (const Row& row : {Row{R"("quant_start_step": 5, )", "", "quant_start_step"},
                         Row{"", R"("quant_start_step": 5, )", "quant_start_step"},
                         Row{R"("observer": {"input": "min_max"}, )", "", "observer"},
                         Row{R"("ema_decay": 0.5, )", R"("ema_decay": 0.9, )", "ema_decay"}}) {
    CAPTURE(row.inputs, row.sums);
    REQUIRE_THROWS_WITH(Run("[" + layers(row.inputs) + ", " + sums(row.sums) + "]"),
                        Catch::Contains("add (output) and conv") && Catch::Contains("(input)") &&
                            Catch::Contains("one " + row.key) &&
                            Catch::Contains("give both the same " + row.key));
  }
  // The same of both, and what means the same.
  Run same("[" + layers(R"("quant_start_step": 5, "ema_decay": 0.5, )") + ", " +
           sums(R"("quant_start_step": 5, "ema_decay": 0.5, )") + "]");
  REQUIRE(same.q->warnings().empty());
  REQUIRE(same.q->sums().size() == 1);
  REQUIRE(Run("[" + layers(R"("quant_start_step": 1, )") + ", " + outputs("Add") + "]")
              .q->warnings()
              .empty());
}

TEST_CASE("a type or scheme that a shared scale does not keep is said once") {
  std::string layers = kLayers;
  layers = layers.replace(layers.find("\"input\": \"uint\""), 15, "\"input\": \"int\"");
  const Run run("[" + layers + ", " + outputs("Add") + "]");
  REQUIRE(run.q->warnings().size() == 1);
  REQUIRE_THAT(run.q->warnings()[0], Catch::Contains("scale of add") &&
                                         Catch::Contains("conv1 (input, int8") &&
                                         Catch::Contains("conv3 (input, int8"));
}
