// G06, G07, G08, G12: ranges of activations over five training steps, then an evaluation.
#include <cmath>

#include "autograd/ops.h"
#include "nn/layers.h"
#include "quant/range_quantize.h"
#include "test/golden/cases.h"
#include "test/golden/reference_net.h"

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

// The same in plain loops.
struct Reference {
  Reference(const ActivationCase& c, const Inputs& inputs)
      : before(c.before), top(c.relu6 ? 6.0f : INFINITY), in(inputs), q(spec_for(c.spec)) {}

  static reference::RangeSpec spec_for(const QuantSpec& s) {
    reference::RangeSpec spec;
    spec.bits = s.bits;
    spec.is_signed = s.is_signed;
    spec.symmetric = s.symmetric;
    spec.average = true;
    spec.start_step = static_cast<int>(s.start_step);
    if (s.per_channel) spec.channels = 3, spec.inner = 4;
    return spec;
  }
  reference::Values forward(const reference::Values& x, bool training) {
    middle = before ? q.forward(x, training) : reference::clamp(x, top);
    return before ? reference::clamp(middle, top) : q.forward(middle, training);
  }
  reference::Values backward(const reference::Values& x) {
    const reference::Values up = in.g(24, -1, 1, 7);
    if (before) return q.backward(reference::clamp_backward(up, middle, top), x);
    return reference::clamp_backward(q.backward(up, middle), x, top);
  }
  Json step(int i);
  Json evaluation() {
    reference::Values x = in.g(24, -1, 1.5, 1);
    for (float& v : x) v *= 3;
    return {{"eval", true}, {"y", numbers(forward(x, false))}};
  }

  bool before;
  float top;
  Inputs in;
  reference::RangeQuantizer q;
  reference::Values middle;  // what the second of the two gets
};

Json Reference::step(int i) {
  const reference::Values x = in.g(24, -1 - 0.1 * i, 1.5 + 0.4 * i, 2 * i + 1);
  const reference::Values y = forward(x, true), dx = backward(x);
  std::vector<float> scale, zero_point;
  for (const reference::Grid& g : q.grids) {
    scale.push_back(g.scale);
    zero_point.push_back(g.zero_point);
  }
  q.step({});
  return {{"step", i + 1},           {"tmin", numbers(q.low)},    {"tmax", numbers(q.high)},
          {"scale", numbers(scale)}, {"zp", numbers(zero_point)}, {"y", numbers(y)},
          {"dx", numbers(dx)}};
}

Json right(const ActivationCase& c, const Inputs& in) {
  Reference reference(c, in);
  Json rows = Json::array();
  for (int i = 0; i < 5; ++i) rows.push_back(reference.step(i));
  rows.push_back(reference.evaluation());
  return rows;
}

// A ReLU may leave zeros only, until some batch has something positive.
Json lost(const ActivationCase& c, const Inputs& in) {
  Reference reference(c, in);
  Json rows = Json::array();
  for (int i = 0; i < 5; ++i) {
    reference.q.lost = false;
    reference.step(i);
    const bool now = reference.q.lost;
    rows.push_back({{"scale", now}, {"zp", now}, {"y", now}, {"dx", now}});
  }
  rows.push_back({{"y", reference.q.lost}});
  return rows;
}

Case activation_case(const std::string& id, const std::string& what, const ActivationCase& c) {
  Case made{id, what, {{"*"}}, [c](const Inputs& in) { return run(c, in); }};
  made.right = [c](const Inputs& in) { return right(c, in); };
  made.lost = [c](const Inputs& in) { return lost(c, in); };
  return made;
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
  return {activation_case("G06", "QAT input of a ReLU, uint8 affine, five steps",
                          {true, false, spec_of(8, false, false, false, 0)}),
          activation_case("G07", "QAT output of a ReLU6, int8 symmetric, five steps",
                          {false, true, spec_of(8, true, false, true, 0)}),
          activation_case("G08", "QAT input of a ReLU, uint8 per-channel affine, five steps",
                          {true, false, spec_of(8, false, true, false, 0)}),
          warm_up};
}

}  // namespace halftone::golden
