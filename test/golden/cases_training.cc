// G25: ten training steps of a small network under every quantizer, then an evaluation.
//
// Which tensors each network quantizes is not in NNI's documents; these lists reproduce its traces
// to the last digits (an independent model of NNI's formulas was tried against all combinations).
#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "nn/layers.h"
#include "test/golden/cases.h"
#include "test/golden/reference_net.h"
#include "test/golden/run_layer.h"

namespace halftone::golden {
namespace {

struct Training {
  const char* quantizer;    // "" trains in float
  const char* config_list;  // "{}": for conv, conv, linear are modules 0, 3 and 6
};

const std::map<std::string, Training>& trainings() {
  static const std::map<std::string, Training> list = {
      {"float", {"", "[]"}},
      {"qat8",
       {"QAT_Quantizer",
        R"([{"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d", "Linear"]},
            {"quant_types": ["output"], "quant_bits": 8, "op_types": ["ReLU6"]}])"}},
      {"qat4pc",
       {"QAT_Quantizer",
        R"([{"quant_types": ["weight", "input"], "quant_bits": 4, "op_types": ["Conv2d", "Linear"],
             "quant_dtype": {"weight": "int"}, "quant_scheme": {"weight": "per_channel_symmetric"}}])"}},
      {"dorefa2",
       {"DoReFaQuantizer",
        R"([{"quant_types": ["weight"], "quant_bits": 2, "op_types": ["Conv2d", "Linear"]}])"}},
      {"bnn",
       {"BNNQuantizer",
        R"([{"quant_types": ["weight"], "quant_bits": 1, "op_names": ["3"]},
            {"quant_types": ["output"], "quant_bits": 1, "op_names": ["1"]}])"}},
      {"lsq4",
       {"LsqQuantizer",
        R"([{"quant_types": ["weight", "input"], "quant_bits": 4, "op_types": ["Conv2d", "Linear"]}])"}},
      {"naive",
       {"NaiveQuantizer",
        R"([{"quant_types": ["weight"], "quant_bits": 8, "op_types": ["Conv2d", "Linear"]}])"}}};
  return list;
}

std::shared_ptr<Sequential> network(const Context& context, const Inputs& in) {
  auto net = make<Sequential>(context);
  Conv2dArgs first, second;
  first.in_channels = 1;
  first.out_channels = 4;
  second.in_channels = 4;
  second.out_channels = 6;
  net->append(make<Conv2d>(context, first));
  net->append(make_relu6(context));
  net->append(make<MaxPool2d>(context, Pool2dOptions()));
  net->append(make<Conv2d>(context, second));
  net->append(make_relu6(context));
  net->append(make<Flatten>(context));
  net->append(make<Linear>(context, 54, 5));
  std::map<std::string, Tensor> state = net->state_dict();
  int j = 0;
  for (const char* name : {"0.weight", "0.bias", "3.weight", "3.bias", "6.weight", "6.bias"}) {
    Tensor& value = state.at(name);
    value = in.tensor(context, value.shape(), -0.3, 0.3, 2 * j + 1);
    ++j;
  }
  net->load_state_dict(state);
  return net;
}

// What the max pooling, module 2, gets in each step.
using Decisions = std::vector<reference::Values>;

float train_step(Sequential& net, Optimizer& optimizer, const Context& context, const Inputs& in,
                 Decisions& decisions) {
  const int64_t i = static_cast<int64_t>(decisions.size());
  std::vector<int64_t> labels;
  for (int64_t j = 0; j < 8; ++j) labels.push_back((i + j) % 5);
  optimizer.zero_grad();
  Variable x(in.activation(context, {8, 1, 12, 12}, -1, 1, static_cast<int>(2 * i + 1)));
  for (size_t k = 0; k < net.children().size(); ++k) {
    if (k == 2) decisions.push_back(torch_values(x.value()));
    x = net.children()[k](x);
  }
  Variable loss = cross_entropy(x, Tensor::from(context, Shape{8}, labels));
  loss.backward();
  optimizer.step();
  return loss.value().item<float>();
}

// Ten losses, then log_softmax of the outputs for two other images.
Json train(const Training& t, const Inputs& in, Decisions& decisions) {
  const Context context;
  const auto net = network(context, in);
  ParameterStore store(*net);
  OptimizerOptions sgd;
  sgd.name = "SGD";
  sgd.lr = 0.05;
  sgd.momentum = 0.9;
  const auto optimizer = make_optimizer(store, sgd);
  std::unique_ptr<Quantizer> quantizer;
  if (*t.quantizer != '\0') {
    quantizer = quantize_as_nni(t.quantizer, *net, t.config_list, optimizer.get());
  }
  std::vector<float> losses;
  for (int i = 0; i < 10; ++i)
    losses.push_back(train_step(*net, *optimizer, context, in, decisions));
  net->eval();
  const NoGrad no_grad;
  const Variable y =
      log_softmax((*net)(Variable(in.activation(context, {2, 1, 12, 12}, -1, 1, 3))));
  return {numbers(losses), numbers(y.value().to_vector<float>())};
}

constexpr double kTrace = 1e-3;  // ten steps amplify a last bit

constexpr const char* kNames[] = {"float", "qat8", "qat4pc", "dorefa2", "bnn", "lsq4", "naive"};

Json run(const Inputs& in) {
  Json out = Json::object();
  for (const char* name : kNames) {
    Decisions unused;
    out[name] = train(trainings().at(name), in, unused);
  }
  return out;
}

// The largest difference of losses and logits, over the larger of the number and 1.
double distance(const Json& a, const reference::Trace& trace) {
  double most = 0;
  for (size_t i = 0; i < 20; ++i) {
    const float x = i < 10 ? trace.losses[i] : trace.logits[i - 10];
    const float y = i < 10 ? a[0][i].get<float>() : a[1][i - 10].get<float>();
    most = std::max(most, std::fabs(double{x} - double{y}) / std::max(1.0f, std::fabs(x)));
  }
  return most;
}

// In plain loops. All that they take from the library is which of equal values a pooling took; and
// of all orders of sums it is the one that comes nearest, order 0 unless a code hangs on roundings.
reference::Trace nearest(const char* name, const Inputs& in) {
  Decisions decisions;
  const Json ours = train(trainings().at(name), in, decisions);
  reference::Trace best = reference::train(name, in, {}, decisions);
  for (int order = 1; order < reference::Sums::kOrders; ++order) {
    if (distance(ours, best) < kTrace / 2) break;
    reference::Trace other = reference::train(name, in, {order}, decisions);
    if (distance(ours, other) < distance(ours, best)) best = std::move(other);
  }
  return best;
}

Json right(const Inputs& in) {
  Json out = Json::object();
  for (const char* name : kNames) {
    const reference::Trace trace = nearest(name, in);
    out[name] = {numbers(trace.losses), numbers(trace.logits)};
  }
  return out;
}

// How far apart the numbers of one training are when sums are taken in other orders. Twice that,
// for 16 orders do not show all that can happen: with 30 multipliers PyTorch's convolutions left
// what they span in 4 of 580 numbers of 4 bits, and never 1.5 times that.
Json spread_of(const std::string& name, const Inputs& in) {
  std::vector<float> least(20, INFINITY), most(20, -INFINITY);
  for (int order = 0; order < reference::Sums::kOrders; ++order) {
    const reference::Trace trace = reference::train(name, in, {order});
    for (size_t i = 0; i < 20; ++i) {
      const float v = i < 10 ? trace.losses[i] : trace.logits[i - 10];
      least[i] = std::min(least[i], v);
      most[i] = std::max(most[i], v);
    }
  }
  Json losses = Json::array(), logits = Json::array();
  for (size_t i = 0; i < 20; ++i) (i < 10 ? losses : logits).push_back(2 * (most[i] - least[i]));
  return {losses, logits};
}

Json spread(const Inputs& in) {
  Json out = Json::object();
  for (const char* name : kNames) out[name] = spread_of(name, in);
  return out;
}

// NaN goes from one step into all that follow.
Json lost(const Inputs& in) {
  Json out = Json::object();
  for (const char* name : kNames) {
    const int first = reference::train(name, in, {}).lost;
    Json losses = Json::array();
    for (int i = 0; i < 10; ++i) losses.push_back(i >= first);
    out[name] = {losses, first <= 10};
  }
  return out;
}

}  // namespace

std::vector<Case> training_cases() {
  const std::string frozen =
      "NNI's weights get no gradient without folding (Q1) and stay; ours train, so only the first "
      "loss is the same";
  const std::string chain =
      "NNI's gradient skips tanh and the normalisation (D2); ours has the chain rule, so only the "
      "first loss is the same";
  Case made{"G25",
            "ten steps of every quantizer, then an evaluation",
            {{"lsq4/0/0", Nearness::kTrace, kTrace},
             {"lsq4/*", Nearness::kOursTrace, kTrace, frozen},
             {"dorefa2/0/0", Nearness::kTrace, kTrace},
             {"dorefa2/*", Nearness::kOursTrace, kTrace, chain},
             {"*", Nearness::kTrace, kTrace}},
            run};
  made.right = right;
  made.lost = lost;
  made.spread = spread;
  return {made};
}

}  // namespace halftone::golden
