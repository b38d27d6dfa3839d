// Batch-norm folding by mode: against PyTorch's ConvBn2d, through training, and where it must not
// happen. Codes against an oracle: chain_test.cc.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "autograd/ops.h"
#include "nn/optimizer.h"
#include "nn/zoo/zoo.h"
#include "quant/quantizer.h"
#include "tensor/safetensors.h"
#include "test/quant/lenet_run.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

namespace {

const char* const kModes[] = {"scale", "batch", "ema", "nni", "none"};

std::string config_of(const std::string& fold, const std::string& more = "") {
  return R"([{"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d", "Linear"],
    "quant_dtype": {"weight": "int", "input": "uint"}, "quant_scheme":
    {"weight": "per_channel_symmetric", "input": "per_tensor_affine"}, "fold": ")" +
         fold + "\"" + more + "}]";
}

// Of the modes that can.
std::string freeze_at(const std::string& mode, int step) {
  if (mode == "nni" || mode == "none") return "";
  return ", \"bn_freeze_step\": " + std::to_string(step);
}

// (N, C, H, W) as PyTorch lists it, in NHWC.
Tensor image(const Context& c, const Shape& nchw, const std::vector<float>& v) {
  Tensor out = Tensor::empty(c, {nchw[0], nchw[2], nchw[3], nchw[1]});
  for (int64_t i = 0; i < nchw.numel(); ++i) {
    const int64_t w = i % nchw[3], h = i / nchw[3] % nchw[2], k = i / nchw[3] / nchw[2] % nchw[1];
    const int64_t n = i / nchw[3] / nchw[2] / nchw[1];
    out.data<float>()[((n * nchw[2] + h) * nchw[3] + w) * nchw[1] + k] = v[i];
  }
  return out;
}

// Position i of PyTorch's order in an NHWC (or OHWI) tensor.
float at(const Tensor& t, int64_t i) {
  const int64_t H = t.dim(1), W = t.dim(2), C = t.dim(3);
  const int64_t w = i % W, h = i / W % H, k = i / W / H % C, n = i / W / H / C;
  return t.data<float>()[((n * H + h) * W + w) * C + k];
}

void require_close(const Tensor& t, const std::vector<int64_t>& where,
                   const std::vector<float>& want) {
  for (size_t i = 0; i < want.size(); ++i) {
    CAPTURE(i);
    REQUIRE(at(t, where[i]) == Approx(want[i]).epsilon(2e-5).margin(2e-6));  // float sums
  }
}

void require_close(const Tensor& t, const std::vector<float>& want) {
  for (size_t i = 0; i < want.size(); ++i) {
    REQUIRE(t.data<float>()[i] == Approx(want[i]).epsilon(2e-5).margin(2e-6));
  }
}

Shape nchw(int64_t n, int64_t c, int64_t h, int64_t w) { return {n, c, h, w}; }

// A convolution whose weight alone is quantized, and its batch norm: what ConvBn2d is.
struct ConvNorm {
  explicit ConvNorm(const std::string& config, int kernel = 3, int in = 2, int out = 3)
      : net(make<Sequential>(c)) {
    conv = make<Conv2d>(c, Conv2dArgs{in, out, kernel, 0, 1, kernel / 2, 1, 1, false});
    norm = make<BatchNorm>(c, out, 2);
    net->append("conv", conv).append("bn", norm);
    q = make_quantizer("QAT_Quantizer", *net, config, nullptr, Tensor::zeros(c, {1, 4, 4, in}));
    q->compress();
  }
  Context c{two_threads()};
  std::shared_ptr<Sequential> net;
  std::shared_ptr<Conv2d> conv;
  std::shared_ptr<BatchNorm> norm;
  std::unique_ptr<Quantizer> q;
};

const char* const kWeightOnly = R"([{"quant_types": ["weight"], "quant_bits": 8,
  "op_types": ["Conv2d"], "quant_dtype": "int", "quant_scheme": "per_channel_symmetric",
  "fold": "batch", "bn_freeze_step": 3}])";

// LeNet-5 (with batch norm) in some mode.
using Run = QatRun;

}  // namespace

// torch.ao.nn.intrinsic.qat.ConvBn2d (torch 2, CPU): per-channel int8 -127..127, scale floor 2^-23,
// the current range (averaging_constant 1).
TEST_CASE("batch: values, gradients, statistics, freeze and evaluation of PyTorch's ConvBn2d") {
  ConvNorm n(kWeightOnly);
  n.conv->weight.mutable_value().copy_from(
      image(n.c, nchw(3, 2, 3, 3), spread(n.c, {54}, -.7, 1.3, 2).to_vector<float>()));
  n.norm->weight.mutable_value().copy_from(Tensor::from<float>(n.c, {3}, {1.5f, -.7f, .3f}));
  n.norm->bias.mutable_value().copy_from(Tensor::from<float>(n.c, {3}, {.1f, -.2f, .3f}));
  n.norm->running_mean->copy_from(Tensor::from<float>(n.c, {3}, {.2f, -.1f, 0.f}));
  n.norm->running_var->copy_from(Tensor::from<float>(n.c, {3}, {2.f, .5f, 1.5f}));
  const auto batch = [&](int k) {
    return Variable(image(n.c, nchw(2, 2, 4, 4), spread(n.c, {64}, -1, 2, k).to_vector<float>()),
                    true);
  };
  const Tensor up = image(n.c, nchw(2, 3, 4, 4), spread(n.c, {96}, -1, 1, 7).to_vector<float>());
  const std::vector<int64_t> first = {0, 1, 2, 3, 4, 5}, weights = {0, 17, 20, 40, 53};
  const auto run = [&](const Variable& x) {
    n.conv->weight.zero_grad();
    n.norm->weight.zero_grad();
    n.norm->bias.zero_grad();
    Variable y = (*n.net)(x);
    y.backward(up);
    return y.value();
  };
  const Variable x1 = batch(5), x2 = batch(7);
  require_close(run(x1), first,
                {-2.3198535442352295f, -1.2162072658538818f, 1.546885371208191f,
                 -0.7713408470153809f, 1.0337657928466797f, 0.7944351434707642f});
  require_close(n.conv->weight.grad(), weights,
                {-1.2008976936340332f, -1.950333833694458f, -0.23644159734249115f,
                 -0.46046945452690125f, 0.4885849952697754f});
  require_close(n.norm->bias.grad(),
                {6.574875831604004f, -1.357492446899414f, -5.289860725402832f});
  require_close(x1.grad(), {0, 10, 40},
                {0.020186902955174446f, -0.2269243448972702f, 0.31587857007980347f});
  n.q->advance_step();
  require_close(run(x2), first,
                {-1.2380656003952026f, 1.9607226848602295f, -1.6746901273727417f,
                 1.361150860786438f, 2.94510817527771f, 0.07550080120563507f});
  require_close(n.conv->weight.grad(), weights,
                {-3.7333459854125977f, 2.0055909156799316f, 0.5069646239280701f,
                 -1.3658175468444824f, 0.30697405338287354f});
  require_close(*n.norm->running_mean,
                {0.40908366441726685f, 0.3038060665130615f, 0.46911144256591797f});
  require_close(*n.norm->running_var,
                {2.0804498195648193f, 1.0231401920318604f, 1.870672583580017f});
  n.q->advance_step();  // step 3: frozen
  const Variable x3 = batch(9);
  const std::vector<float> frozen = {-0.4448278546333313f, 1.9704402685165405f,
                                     -0.736956775188446f,  3.436821699142456f,
                                     -2.4142379760742188f, 2.1666147708892822f};
  require_close(run(x3), first, frozen);
  require_close(n.conv->weight.grad(), weights,
                {3.6444592475891113f, 1.6402864456176758f, 1.7707632780075073f, -0.526121973991394f,
                 -0.7765839695930481f});
  require_close(*n.norm->running_mean,
                {0.40908366441726685f, 0.3038060665130615f, 0.46911144256591797f});
  n.net->eval();
  require_close((*n.net)(x3).value(), first, frozen);
}

TEST_CASE("the gradient of gamma is batch norm's: sum of dy xhat") {
  // PyTorch adds what its factor gamma / sigma_run contributes through the rounding: the factor
  // divides out again, so that this is rounding noise, and left out here.
  ConvNorm n(kWeightOnly);
  const Variable x(spread(n.c, {2, 4, 4, 2}, -1, 2, 5));
  Variable y = (*n.net)(x);
  const Tensor up = spread(n.c, y.shape(), -1, 1, 7);
  std::vector<double> want(3);
  for (int64_t i = 0; i < up.numel(); ++i) {  // gamma 1, beta 0: y is xhat
    want[i % 3] += static_cast<double>(up.data<float>()[i]) * y.value().data<float>()[i];
  }
  y.backward(up);
  for (int k = 0; k < 3; ++k)
    REQUIRE(n.norm->weight.grad().data<float>()[k] == Approx(want[k]).epsilon(1e-5));
}

TEST_CASE("every mode: warm-up is the float network, bit for bit, gradients too") {
  for (const std::string mode : kModes) {
    for (const bool integer : {true, false}) {
      CAPTURE(mode, integer);
      Run plain(""), quantized(config_of(mode), 4, integer);
      for (int k = 0; k < 3; ++k) {
        REQUIRE(plain.step(k) == quantized.step(k));
        const auto a = plain.model->named_parameters(), b = quantized.model->named_parameters();
        REQUIRE(a.size() == b.size());
        for (size_t i = 0; i < a.size(); ++i) {
          CAPTURE(a[i].first);
          REQUIRE(a[i].second.grad().to_vector<float>() == b[i].second.grad().to_vector<float>());
        }
      }
      for (const float v : quantized.evaluate()) REQUIRE(std::isfinite(v));
      REQUIRE(plain.step(3) != quantized.step(3));
    }
  }
}

TEST_CASE("every mode learns, and a resumed run continues with the same bits") {
  for (const std::string mode : kModes) {
    for (const bool integer : {true, false}) {
      CAPTURE(mode, integer);
      const std::string config = config_of(mode, freeze_at(mode, 20));
      Run run(config, 3, integer);
      const float first = run.step(0);
      for (int k = 1; k < 24; ++k) run.step(0);
      Run resumed(config, 3, integer);
      resumed.model->load_state_dict(run.model->state_dict());
      resumed.optimizer->load_state_dict(run.optimizer->state_dict());
      REQUIRE(run.evaluate() == resumed.evaluate());
      float last = 0;
      for (int k = 24; k < 34; ++k) {
        last = run.step(0);
        REQUIRE(resumed.step(0) == last);
      }
      REQUIRE(last < 0.3f * first);
    }
  }
}

TEST_CASE("every mode: integers agree with the float form of the same layer") {
  for (const std::string mode : {"scale", "batch", "ema", "none"}) {
    CAPTURE(mode);
    Run integer(config_of(mode)), simulated(config_of(mode), 0, false);
    REQUIRE(integer.quantizer->integer_obstacle("conv1").empty());
    for (int k = 0; k < 4; ++k) {
      // Dequantized operands round differently: some codes differ by one, so the losses by little.
      REQUIRE(integer.step(k) == Approx(simulated.step(k)).epsilon(0.02));
    }
  }
}

TEST_CASE("frozen batch norm keeps its running statistics and goes on learning") {
  for (const std::string mode : {"scale", "batch", "ema"}) {
    for (const bool integer : {true, false}) {
      CAPTURE(mode, integer);
      Run run(config_of(mode, ", \"bn_freeze_step\": 3"), 0, integer);
      run.step(0);
      const auto early = run.model->state_dict().at("bn1.running_var").to_vector<float>();
      run.step(1);
      const auto before = run.model->state_dict().at("bn1.running_var").to_vector<float>();
      REQUIRE(early != before);
      const auto gamma = run.model->state_dict().at("bn1.weight").to_vector<float>();
      run.step(2);
      REQUIRE(run.model->state_dict().at("bn1.running_var").to_vector<float>() == before);
      REQUIRE(run.model->state_dict().at("bn1.num_batches_tracked").item<int64_t>() == 2);
      REQUIRE(run.model->state_dict().at("bn1.weight").to_vector<float>() != gamma);
    }
  }
}

TEST_CASE("gamma 0, negative gamma, eps: finite, and the value that batch norm gives") {
  for (const std::string mode : kModes) {
    CAPTURE(mode);
    ConvNorm n(config_of(mode));
    n.norm->weight.mutable_value().copy_from(Tensor::from<float>(n.c, {3}, {0.f, -1.5f, 1e-30f}));
    n.norm->bias.mutable_value().copy_from(Tensor::from<float>(n.c, {3}, {.5f, 0.f, -.25f}));
    for (const bool train : {true, true, false}) {
      n.net->train(train);
      Variable y = (*n.net)(Variable(spread(n.c, {2, 4, 4, 2}, -1, 2, 5)));
      for (int64_t i = 0; i < y.value().numel(); i += 3) {
        REQUIRE(y.value().data<float>()[i] == Approx(.5f).epsilon(1e-6));
        REQUIRE(y.value().data<float>()[i + 2] == Approx(-.25f).epsilon(1e-6));
      }
      if (!train) continue;
      y.backward(spread(n.c, y.shape(), -1, 1, 7));
      for (auto& [name, p] : n.net->named_parameters()) {
        for (const float g : p.grad().to_vector<float>()) REQUIRE(std::isfinite(g));
      }
    }
  }
}

TEST_CASE("running statistics are the float convolution's in every mode, however long it trains") {
  for (const std::string mode : kModes) {
    CAPTURE(mode);
    ConvNorm n(config_of(mode));
    const Tensor x = spread(n.c, {8, 4, 4, 2}, -1, 2, 5);
    for (int k = 0; k < 150; ++k) {
      (*n.net)(Variable(x));
      n.q->advance_step();
    }
    // The float convolution of the same batch.
    Variable v = conv2d(Variable(x), n.conv->weight, Variable(), n.conv->options());
    for (int k = 0; k < 3; ++k) {
      double sum = 0, squares = 0;
      const int64_t count = v.value().numel() / 3;
      for (int64_t i = k; i < v.value().numel(); i += 3) sum += v.value().data<float>()[i];
      for (int64_t i = k; i < v.value().numel(); i += 3)
        squares += std::pow(v.value().data<float>()[i] - sum / count, 2);
      // 0.9^150 of the initial statistics is left: 1e-7. 8-bit weights and inputs move them by 1 %.
      REQUIRE(n.norm->running_var->data<float>()[k] == Approx(squares / (count - 1)).epsilon(0.02));
      REQUIRE(n.norm->running_mean->data<float>()[k] == Approx(sum / count).margin(0.02));
    }
  }
}

namespace {

// conv feeds bn and, in `skips`, an addition as well.
struct Forked : Module {
  Forked(const Context& c, bool skips) : Module(c), skips(skips) {
    conv = make<Conv2d>(c, Conv2dArgs{2, 3, 3, 0, 1, 1});
    norm = make<BatchNorm>(c, 3, 2);
    register_child("conv", conv);
    register_child("bn", norm);
    add = &register_child("add", make<Add>(c));
  }
  std::string type_name() const override { return "Forked"; }
  Variable forward(const std::vector<Variable>& in) override {
    const Variable v = (*conv)(in.at(0));
    const Variable y = (*norm)(v);
    return skips ? (*add->get())({y, v}) : y;
  }
  bool skips;
  std::shared_ptr<Conv2d> conv;
  std::shared_ptr<BatchNorm> norm;
  Slot* add;
};

}  // namespace

TEST_CASE("no fold where the convolution has a second consumer, or its weight is not quantized") {
  const Context c(two_threads());
  for (const std::string mode : kModes) {
    CAPTURE(mode);
    const auto forked = make<Forked>(c, true);
    auto q = make_quantizer("QAT_Quantizer", *forked, config_of(mode), nullptr,
                            Tensor::zeros(c, {1, 4, 4, 2}));
    q->compress();
    REQUIRE(q->chains().at(0)->norm == nullptr);
    const Variable x(spread(c, {2, 4, 4, 2}, -1, 2, 5));
    const Tensor y = (*forked)(x).value();
    REQUIRE(forked->norm->num_batches_tracked->item<int64_t>() == 1);
    // The skip carries the convolution itself: y - bn(v) = v, far from normalised.
    forked->eval();
    const Tensor v = (*forked->conv)(x).value();
    double largest = 0;
    for (int64_t i = 0; i < v.numel(); ++i)
      largest = std::max<double>(largest, std::fabs(v.data<float>()[i]));
    REQUIRE(largest > 0.1);
    REQUIRE(y.numel() == v.numel());
  }
  // Only its output is quantized: batch norm stays, and normalises.
  const auto plain = make<Forked>(c, false);
  plain->norm->bias.mutable_value().fill(3.0f);
  auto q =
      make_quantizer("QAT_Quantizer", *plain,
                     R"([{"quant_types": ["output"], "quant_bits": 8, "op_types": ["Conv2d"]}])",
                     nullptr, Tensor::zeros(c, {1, 4, 4, 2}));
  q->compress();
  const Tensor y = (*plain)(Variable(spread(c, {2, 4, 4, 2}, -1, 2, 5))).value();
  double mean = 0;
  for (const float v : y.to_vector<float>()) mean += static_cast<double>(v) / y.numel();
  REQUIRE(mean == Approx(3.0).epsilon(1e-5));
}

TEST_CASE("fold without a quantized weight, and unknown modes, are refused by name") {
  const Context c;
  Model model = make_model("lenet5", c);
  const auto compress = [&](const std::string& config) {
    make_quantizer("QAT_Quantizer", *model.module, config)->compress();
  };
  REQUIRE_THROWS_WITH(compress(config_of("batchnorm")),
                      Catch::Contains("entry 1, fold") && Catch::Contains("\"ema\""));
  REQUIRE_THROWS_WITH(
      compress(R"([{"quant_types": ["output"], "quant_bits": 8, "op_types": ["ReLU"],
                    "fold": "ema"}])"),
      Catch::Contains("fold") && Catch::Contains("quant_types is without weight"));
}

TEST_CASE("fold report: every folded layer, and a difference of rounding only") {
  for (const std::string mode : {"scale", "batch", "ema", "nni"}) {
    for (const bool integer : {true, false}) {
      CAPTURE(mode, integer);
      Run run(config_of(mode), 0, integer);
      for (int k = 0; k < 3; ++k) run.step(k);
      const auto before = run.evaluate();
      const auto report =
          run.quantizer->fold_report(spread(run.context, run.model.batch_shape(3), -1, 2));
      REQUIRE(report.size() == 4);
      for (const FoldReport& r : report) {
        REQUIRE(r.norm.substr(0, 2) == "bn");
        REQUIRE(r.magnitude > 0.1f);
        // Half a step of the int32 bias, and a few float roundings.
        REQUIRE(r.difference <= 1e-3f * r.magnitude);
        REQUIRE(r.difference > 0);
      }
      REQUIRE(run.evaluate() == before);
    }
  }
}

TEST_CASE("statistics re-estimated: the averages of the batches; the quantizers stay") {
  for (const std::string mode : kModes) {
    for (const bool integer : {true, false}) {
      CAPTURE(mode, integer);
      Run run(config_of(mode, freeze_at(mode, 2)), 0, integer);
      for (int k = 0; k < 3; ++k) run.step(k);
      const auto before = run.model->state_dict();
      const float momentum = dynamic_cast<BatchNorm&>(*run.model->find("bn1")).args().momentum;
      std::vector<Tensor> batches;
      for (int k = 0; k < 4; ++k)
        batches.push_back(spread(run.context, run.model.batch_shape(6), -0.4f, 2.8f, 31 + 2 * k));
      // The first batch norm sees the same inputs whatever the statistics: its mean is the mean of
      // what single batches give.
      std::vector<double> mean(6);
      for (const Tensor& batch : batches) {
        run.quantizer->reestimate_statistics({batch});
        for (int c = 0; c < 6; ++c)
          mean[c] += run.model->state_dict().at("bn1.running_mean").data<float>()[c] / 4.0;
      }
      run.quantizer->reestimate_statistics(batches);
      const auto after = run.model->state_dict();
      for (int c = 0; c < 6; ++c)  // the range of folded weights moves with the statistics
        REQUIRE(after.at("bn1.running_mean").data<float>()[c] == Approx(mean[c]).margin(2e-3));
      REQUIRE(dynamic_cast<BatchNorm&>(*run.model->find("bn1")).args().momentum == momentum);
      for (const auto& [name, value] : before) {
        if (name.find("bn") == 0 || name.find("weight_fake_quant") != std::string::npos) continue;
        CAPTURE(name);
        REQUIRE(std::memcmp(value.raw(), after.at(name).raw(), value.nbytes()) == 0);
      }
      REQUIRE(run.model->training());
      for (const float v : run.evaluate()) REQUIRE(std::isfinite(v));
    }
  }
  Run run(config_of("scale"));
  REQUIRE_THROWS_WITH(run.quantizer->reestimate_statistics({}),
                      Catch::Contains("at least one batch"));
}

TEST_CASE("export: float master weights, batch norm apart, and the folded layer") {
  for (const std::string mode : {"batch", "nni", "scale"}) {
    CAPTURE(mode);
    Run run(config_of(mode), 0, false);
    for (int k = 0; k < 2; ++k) run.step(k);
    const TempFolder folder;
    run.quantizer->export_model(folder / "a.safetensors");
    const auto t = load_safetensors(run.context, folder / "a.safetensors").tensors;
    const auto state = run.model->state_dict();
    const Tensor &w = t.at("conv1.weight"), &folded = t.at("conv1.folded_weight");
    REQUIRE(w.to_vector<float>() == state.at("conv1.weight").to_vector<float>());
    REQUIRE(t.count("bn1.running_var") == 1);
    for (int64_t i = 0; i < w.numel(); ++i) {
      const int64_t c = i / (w.numel() / w.dim(0));
      const auto at = [&](const char* name) {
        return static_cast<double>(t.at(name).data<float>()[c]);
      };
      const double ratio = at("bn1.weight") / std::sqrt(at("bn1.running_var") + 1e-5);
      REQUIRE(folded.data<float>()[i] == Approx(w.data<float>()[i] * ratio).epsilon(1e-6));
      REQUIRE(at("conv1.folded_bias") ==
              Approx(at("bn1.bias") + ratio * (at("conv1.bias") - at("bn1.running_mean")))
                  .margin(1e-6));
      // Codes of the folded weight, or of the raw one; the optimizer has moved it since the scale.
      const std::string coded = mode == "scale" ? "conv1.weight" : "conv1.folded_weight";
      REQUIRE(t.count(mode == "scale" ? "conv1.folded_weight_codes" : "conv1.weight_codes") == 0);
      const double step = t.at(coded + "_scale").data<float>()[c];
      const double real = step * t.at(coded + "_codes").data<int32_t>()[i];
      REQUIRE(std::fabs(real - static_cast<double>(t.at(coded).data<float>()[i])) <= 1.5 * step);
    }
  }
}

TEST_CASE("a dead channel does not widen a range of the whole tensor") {
  const char* per_tensor = R"([{"quant_types": ["weight"], "quant_bits": 8, "op_types": ["Conv2d"],
    "quant_dtype": "int", "quant_scheme": "per_tensor_symmetric", "fold": "batch"}])";
  ConvNorm alive(per_tensor), dead(per_tensor);
  for (ConvNorm* n : {&alive, &dead}) n->norm->running_var->fill(100.0f);  // factors of a tenth
  dead.conv->weight.mutable_value().copy_from(alive.conv->weight.value());
  dead.norm->weight.mutable_value().data<float>()[1] = 0.0f;
  for (ConvNorm* n : {&alive, &dead}) (*n->net)(Variable(spread(n->c, {2, 4, 4, 2}, -1, 1)));
  const auto scale = [](const ConvNorm& n) {
    return n.q->points().at(0).quantizer->grids(4).list.at(0).scale;
  };
  // Each channel's variance has moved by its own batch: a little more than the channel's own
  // factor.
  REQUIRE(scale(dead) <= 1.01f * scale(alive));
}

TEST_CASE("after a forward that throws fold_report and reestimate_statistics leave no trace") {
  ConvNorm n(config_of("batch"));
  n.norm->eval();  // frozen by its owner
  const Tensor good = spread(n.c, {2, 4, 4, 2}, -1, 1), bad = Tensor::zeros(n.c, {2, 4, 4, 5});
  const float momentum = n.norm->args().momentum;
  REQUIRE_THROWS(n.q->fold_report(bad));
  REQUIRE_THROWS(n.q->reestimate_statistics({good, bad}));
  CHECK(n.norm->args().momentum == momentum);
  CHECK_FALSE(n.norm->training());
  CHECK(n.net->training());
  for (const ChainPtr& chain : n.q->chains()) CHECK_FALSE(chain->probe);
}
