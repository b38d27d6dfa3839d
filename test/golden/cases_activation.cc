// G06, G07, G08, G12: ranges of activations over five training steps, then an evaluation.
#include "autograd/ops.h"
#include "nn/layers.h"
#include "quant/range_quantize.h"
#include "test/golden/cases.h"

namespace halftone::golden {
namespace {

struct ActivationCase {
  bool before = false;  // quantizes the input of a ReLU; else the output of `activation`
  bool relu6 = false;
  QuantSpec spec;
};

QuantSpec spec_of(int bits, bool is_signed, bool per_channel, bool symmetric, int start_step) {
  QuantSpec s;
  s.bits = bits;
  s.is_signed = is_signed;
  s.per_channel = per_channel;
  s.symmetric = symmetric;
  s.axis = 1;
  s.start_step = start_step;
  s.nni = true;
  return s;
}

const Shape kShape{2, 3, 2, 2};

Tensor batch(const Context& context, const Inputs& in, int i) {
  return in.activation(context, kShape, -1 - 0.1 * i, 1.5 + 0.4 * i, 2 * i + 1);
}

Variable forward(const ActivationCase& c, RangeQuantize& q, Module& activation, const Variable& x) {
  return c.before ? activation(q(x)) : q(activation(x));
}

Json ranges_of(const RangeQuantize& q) {
  std::vector<float> low, high, scale, zero_point;
  for (const kernels::Range& r : q.ranges()) {
    low.push_back(r.low);
    high.push_back(r.high);
  }
  for (const quant_math::Grid& g : q.grids(4).list) {
    scale.push_back(g.scale);
    zero_point.push_back(static_cast<float>(g.zero_point));
  }
  return {{"tmin", numbers(low)},
          {"tmax", numbers(high)},
          {"scale", numbers(scale)},
          {"zp", numbers(zero_point)}};
}

Json run(const ActivationCase& c, const Inputs& in) {
  const Context context;
  const ModulePtr activation = c.relu6 ? make_relu6(context) : make_relu(context);
  const FakeQuantizeArgs args{c.before ? QuantType::kInput : QuantType::kOutput, c.spec, 0, false};
  RangeQuantize q(context, args);
  Json rows = Json::array();
  for (int i = 0; i < 5; ++i) {
    const Variable x(batch(context, in, i), true);
    Variable y = forward(c, q, *activation, x);
    y.backward(in.activation(context, kShape, -1, 1, 7));
    Json row = {{"step", i + 1}};
    row.update(ranges_of(q));
    row["y"] = numbers(torch_values(y.value()));
    row["dx"] = numbers(torch_values(x.grad()));
    rows.push_back(row);
    q.set_steps(q.steps() + 1);
  }
  q.eval();
  const Variable x = scale(Variable(batch(context, in, 0)), 3.0f);
  rows.push_back(
      {{"eval", true}, {"y", numbers(torch_values(forward(c, q, *activation, x).value()))}});
  return rows;
}

// The float network's gradient: upstream where the ReLU lets it pass.
Json warm_up_right(const Inputs& in) {
  Json rows = Json::array();
  for (int i = 0; i < 2; ++i) {
    const auto x = in.g(24, -1 - 0.1 * i, 1.5 + 0.4 * i, 2 * i + 1), up = in.g(24, -1, 1, 7);
    Json dx = Json::array();
    for (size_t j = 0; j < x.size(); ++j) dx.push_back(x[j] > 0 ? double{up[j]} : 0.0);
    rows.push_back({{"dx", dx}});
  }
  return rows;
}

Case activation_case(const std::string& id, const std::string& what, const ActivationCase& c) {
  return {id, what, {{"*"}}, [c](const Inputs& in) { return run(c, in); }};
}

}  // namespace

std::vector<Case> activation_cases() {
  Case warm_up = activation_case("G12", "QAT output of a ReLU, uint4 affine, quant_start_step 3",
                                 {false, false, spec_of(4, false, false, false, 3)});
  warm_up.rules = {
      {"[01]/dx*", Nearness::kOurs, 0,
       "NNI passes no gradient in its float warm-up (B1); ours is the float network's"},
      {"[01]/scale/*", Nearness::kOurs, 0,
       "NNI computes no grid in the warm-up; ours follows the range and is not used"},
      {"[01]/zp/*", Nearness::kOurs, 0, "the same"},
      {"*"}};
  warm_up.right = warm_up_right;
  return {activation_case("G06", "QAT input of a ReLU, uint8 affine, five steps",
                          {true, false, spec_of(8, false, false, false, 0)}),
          activation_case("G07", "QAT output of a ReLU6, int8 symmetric, five steps",
                          {false, true, spec_of(8, true, false, true, 0)}),
          activation_case("G08", "QAT input of a ReLU, uint8 per-channel affine, five steps",
                          {true, false, spec_of(8, false, true, false, 0)}),
          warm_up};
}

}  // namespace halftone::golden
