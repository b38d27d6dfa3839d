// Batch-norm folding: what every mode computes, against PyTorch and closed forms.
#include <catch2/catch.hpp>
#include <cmath>

#include "quant/quantizer.h"
#include "test/quant/fold_net.h"
#include "test/quant/lenet_run.h"

using namespace halftone;
using namespace halftone::test;

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
