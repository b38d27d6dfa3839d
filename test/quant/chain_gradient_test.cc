#include <catch2/catch.hpp>
#include <map>

#include "autograd/ops.h"
#include "test/quant/chain_net.h"

using namespace halftone;
using namespace halftone::test;

namespace {

// Everything that the unrounded epilogue depends on, as reals.
struct Point {
  std::vector<double> x, w, bias, gamma, beta;
};

// sum of up * u where the gradient passes; u is affine in v between clamp and clip.
double loss_at(const Point& p, const LayerOracle& o, const std::vector<float>& up) {
  const int64_t channels = o.channels(), rows = static_cast<int64_t>(o.acc.size()) / channels;
  const Shape shape = conv2d_shape(o.x_shape, o.w_shape, o.options);
  std::vector<double> v(shape.numel());
  const int64_t cg = o.w_shape[3], og = channels / o.options.groups;
  size_t at = 0;
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t i = 0; i < shape[1]; ++i)
      for (int64_t j = 0; j < shape[2]; ++j)
        for (int64_t k = 0; k < channels; ++k, ++at) {
          v[at] = p.bias.empty() ? 0 : p.bias[k];
          for (int64_t a = 0; a < o.w_shape[1]; ++a)
            for (int64_t b = 0; b < o.w_shape[2]; ++b) {
              const int64_t r = i * o.options.stride_h - o.options.pad_h + a;
              const int64_t s = j * o.options.stride_w - o.options.pad_w + b;
              if (r < 0 || s < 0 || r >= o.x_shape[1] || s >= o.x_shape[2]) continue;
              for (int64_t c = 0; c < cg; ++c) {
                v[at] += p.x[((n * o.x_shape[1] + r) * o.x_shape[2] + s) * o.x_shape[3] +
                             k / og * cg + c] *
                         p.w[((k * o.w_shape[1] + a) * o.w_shape[2] + b) * cg + c];
              }
            }
        }
  std::vector<double> pooled;
  for (const int64_t winner : o.winners) pooled.push_back(v[winner]);
  if (o.pool) v = pooled;
  double loss = 0;
  for (int64_t k = 0; k < channels; ++k) {
    double mean = 0, variance = 1, scale = 1, shift = 0;
    if (o.norm) {
      mean = o.running_mean[k];
      variance = o.running_var[k];
      if (o.training) {
        mean = variance = 0;
        for (int64_t r = 0; r < rows; ++r) mean += v[r * channels + k] / static_cast<double>(rows);
        for (int64_t r = 0; r < rows; ++r) {
          variance += std::pow(v[r * channels + k] - mean, 2) / static_cast<double>(rows);
        }
      }
      scale = p.gamma[k] / std::sqrt(variance + static_cast<double>(o.eps));
      shift = p.beta[k];
    } else {
      mean = 0;
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t i = r * channels + k;
      if (o.passes[i]) loss += up[i] * (scale * (v[i] - mean) + shift);
    }
  }
  return loss;
}

std::vector<double> widen(const std::vector<float>& v) {
  return std::vector<double>(v.begin(), v.end());
}

// Compares a gradient with central differences at up to 24 positions.
void check(const char* name, std::vector<double> Point::*member, const Tensor& gradient,
           const Point& p, const LayerOracle& o, const std::vector<float>& up,
           const std::vector<char>& mask = {}) {
  CAPTURE(name);
  const std::vector<float> got = gradient.to_vector<float>();
  double largest = 0;
  for (const float g : got) largest = std::max(largest, static_cast<double>(std::fabs(g)));
  REQUIRE(largest > 0);
  const size_t stride = std::max<size_t>(1, got.size() / 24);
  for (size_t i = 0; i < got.size(); i += stride) {
    Point q = p;
    const double h = 1e-5;
    (q.*member)[i] += h;
    const double above = loss_at(q, o, up);
    (q.*member)[i] -= 2 * h;
    const double want = (above - loss_at(q, o, up)) / (2 * h);
    CAPTURE(i);
    // Float sums and products in ours, a difference quotient in double here: 1e-4 of the largest.
    REQUIRE(std::fabs(got[i] - (mask.empty() || mask[i] ? want : 0.0)) <= 1e-4 * largest);
  }
}

// What a learned grid of LSQ or LSQ+ does to v = x / s at (low, high), by the papers' formulas:
// dy/ds (of LSQ+ at constant offset) and dy/doffset.
struct Shares {
  double scale, offset;
};
Shares shares_of(double v, double low, double high, double zero, bool plus) {
  if (v > low && v < high) return {static_cast<double>(nearest_even(v)) - v, 0.0};
  const double end = v <= low ? low : high;
  return {plus ? end + zero : end, 1.0};
}

// A net of one chain after one training step, its oracle, the gradients for one upstream.
struct Trial {
  Trial(const Case& c, bool train) : net(c), plus(c.quantizer == "LsqPlusQuantizer") {
    if (c.norm) net.norm->weight.mutable_value().data<float>()[2] = 0.3f;
    (*net.model)(Variable(net.x));
    net.model->train(train);
    net.x = spread(net.context, net.x.shape(), -1.0f, 2.1f, 9);
    o = oracle_of(c, net);
    x = Variable(net.x, true);
    Variable y = (*net.model)(x);
    take_grids(net, o, *y.codes());
    take_statistics(c, net, o);
    o.run();
    const Tensor upstream = spread(net.context, y.shape(), -1.0f, 1.0f, 13);
    y.backward(upstream);
    up = upstream.to_vector<float>();
    for (const int64_t code : o.x_codes)
      p.x.push_back(o.x_scale * static_cast<double>(code - o.x_zero));
    const size_t n = o.q_weight.size() / o.channels();
    for (size_t i = 0; i < o.q_weight.size(); ++i)
      p.w.push_back(static_cast<double>(o.w_scale[i / n]) * static_cast<double>(o.q_weight[i]) /
                    o.factor_of(static_cast<int64_t>(i / n)));
    p.bias = widen(o.bias);
    p.gamma = widen(o.gamma);
    p.beta = widen(o.beta);
  }

  // x / s as the quantizer computes it.
  double input_steps(size_t i) const {
    return static_cast<double>(net.x.data<float>()[i] / static_cast<float>(o.x_scale));
  }
  double weight_steps(size_t i) const {
    return static_cast<double>(o.weight[i] / o.w_scale[i / (o.weight.size() / o.channels())]);
  }
  // Where the input's quantizer passes a gradient, and where the weight's does.
  std::vector<char> input_mask() const {
    const QuantParams in = net.quantizer_of(QuantType::kInput).params();
    std::vector<char> mask;
    for (size_t i = 0; i < o.x_codes.size(); ++i) {
      const double v = o.learned ? input_steps(i) : nearest_even(input_steps(i));
      const double low = in.qmin - in.zero_point, high = in.qmax - in.zero_point;
      mask.push_back(o.learned ? v > low && v < high : v >= low && v <= high);
    }
    return mask;
  }
  std::vector<char> weight_mask() const {
    if (!o.learned) return o.w_inside;  // symmetric int: the largest weight has the last code
    std::vector<char> mask;
    for (size_t i = 0; i < o.weight.size(); ++i)
      mask.push_back(weight_steps(i) > weight_low() && weight_steps(i) < weight_high());
    return mask;
  }
  double weight_high() const { return (1 << (o.bits - 1)) - 1; }
  double weight_low() const { return o.bits == 8 ? -127 : -weight_high() - 1; }

  Net net;
  bool plus;
  LayerOracle o;
  Variable x;
  std::vector<float> up;
  Point p;
};

// The derivative of the loss along a direction of the quantized values.
double along(const Trial& t, std::vector<double> Point::*member,
             const std::vector<double>& direction) {
  const double h = 1e-5;
  Point above = t.p, below = t.p;
  for (size_t i = 0; i < direction.size(); ++i) {
    (above.*member)[i] += h * direction[i];
    (below.*member)[i] -= h * direction[i];
  }
  return (loss_at(above, t.o, t.up) - loss_at(below, t.o, t.up)) / (2 * h);
}

double gradient_scale(double count, double qmax) { return 1 / std::sqrt(count * qmax); }

float gradient_at(const FakeQuantize& q, size_t parameter, int64_t c = 0) {
  return q.learned().at(parameter).grad().data<float>()[c];
}

// Sums of float products in ours, a difference quotient in double here, with cancellation in both:
// 1e-4 of what the sum would be if its terms had random signs.
void check_learned(const char* name, float got, double want, double term, double terms) {
  CAPTURE(name);
  REQUIRE(static_cast<double>(got) ==
          Approx(want).epsilon(1e-4).margin(1e-4 * term * std::sqrt(terms) + 1e-6));
}

double largest_of(const Tensor& t) {
  double m = 0;
  for (const float v : t.to_vector<float>()) m = std::max(m, std::fabs(static_cast<double>(v)));
  return m;
}

void check_input_grid(const Trial& t) {
  const FakeQuantize& q = t.net.quantizer_of(QuantType::kInput);
  const quant_math::Grid g = q.grids(4).list.at(0);
  std::vector<double> scale, offset;
  for (size_t i = 0; i < t.p.x.size(); ++i) {
    const Shares s = shares_of(t.input_steps(i), g.qmin - g.zero_point, g.qmax - g.zero_point,
                               g.zero_point, t.plus);
    scale.push_back(s.scale);
    offset.push_back(s.offset);
  }
  const double n = static_cast<double>(t.p.x.size());
  const double factor = gradient_scale(n / static_cast<double>(t.o.x_shape[0]), g.qmax);
  const double term = factor * largest_of(t.x.grad());
  check_learned("s_x", gradient_at(q, 0), factor * along(t, &Point::x, scale), term, n);
  if (t.plus)
    check_learned("beta_x", gradient_at(q, 1), factor * along(t, &Point::x, offset), term, n);
}

void check_weight_grid(const Trial& t) {
  const FakeQuantize& q = t.net.quantizer_of(QuantType::kWeight);
  const int64_t scales = q.learned().at(0).value().numel();
  const size_t n = t.p.w.size() / scales;
  const double factor = gradient_scale(static_cast<double>(n), t.weight_high());
  const double term = factor * largest_of(t.net.weight().grad());
  for (int64_t c = 0; c < scales; ++c) {
    std::vector<double> direction(t.p.w.size());
    for (size_t i = c * n; i < (c + 1) * n; ++i)
      direction[i] = shares_of(t.weight_steps(i), t.weight_low(), t.weight_high(), 0, false).scale;
    check_learned("s_w", gradient_at(q, 0, c), factor * along(t, &Point::w, direction), term,
                  static_cast<double>(n));
  }
}

void check_output_grid(const Trial& t) {
  const FakeQuantize& q = t.net.quantizer_of(QuantType::kOutput);
  const quant_math::Grid g = q.grids(4).list.at(0);
  double scale = 0, offset = 0;
  for (size_t i = 0; i < t.up.size(); ++i) {
    const Shares s = shares_of(t.o.clipped_steps[i], g.qmin - g.zero_point, g.qmax - g.zero_point,
                               g.zero_point, t.plus);
    scale += static_cast<double>(t.up[i]) * s.scale;
    offset += static_cast<double>(t.up[i]) * s.offset;
  }
  const double n = static_cast<double>(t.up.size());
  const double factor = gradient_scale(n / static_cast<double>(t.o.y_shape[0]), g.qmax);
  check_learned("s_y", gradient_at(q, 0), factor * scale, factor, n);
  if (t.plus) check_learned("beta_y", gradient_at(q, 1), factor * offset, factor, n);
}

void check_trial(const Case& c, bool train) {
  const Trial t(c, train);
  check("x", &Point::x, t.x.grad(), t.p, t.o, t.up, t.input_mask());
  check("weight", &Point::w, t.net.weight().grad(), t.p, t.o, t.up, t.weight_mask());
  if (c.norm) {
    check("gamma", &Point::gamma, t.net.norm->weight.grad(), t.p, t.o, t.up);
    check("beta", &Point::beta, t.net.norm->bias.grad(), t.p, t.o, t.up);
  }
  if (t.net.bias().defined() && !(c.norm && t.o.training))
    check("bias", &Point::bias, t.net.bias().grad(), t.p, t.o, t.up);
  if (t.net.bias().defined() && c.norm && t.o.training) {
    for (const float g : t.net.bias().grad().to_vector<float>()) REQUIRE(g == 0.0f);  // it cancels
  }
  if (!t.o.learned) return;
  check_input_grid(t);
  check_weight_grid(t);
  check_output_grid(t);
}

}  // namespace

TEST_CASE("chain gradients are those of the unrounded epilogue") {
  for (const Case& c : cases()) {
    if (c.conv.dilation != 1) continue;  // the plain form above has none
    for (const bool train : {true, false}) {
      DYNAMIC_SECTION(c.name << (train ? ", training" : ", evaluation")) { check_trial(c, train); }
    }
  }
}

TEST_CASE("weights with zero points: the same, straight through the same quantized weights") {
  for (const Case& c : zero_point_cases()) {
    if (c.conv.dilation != 1) continue;
    for (const bool train : {true, false}) {
      DYNAMIC_SECTION(c.name << (train ? ", training" : ", evaluation")) { check_trial(c, train); }
    }
  }
}

TEST_CASE("learned scales and offsets: the same, with the gradients of every grid") {
  for (const Case& c : learned_cases()) {
    if (c.conv.dilation != 1) continue;
    for (const bool train : {true, false}) {
      DYNAMIC_SECTION(c.name << (train ? ", training" : ", evaluation")) { check_trial(c, train); }
    }
  }
}

namespace {

using Gradients = std::map<std::string, std::vector<float>>;

// Of a net whose state is that of `like`, unless null.
Gradients gradients_of(Net& net, Net* like) {
  if (like != nullptr) net.model->load_state_dict(like->model->state_dict());
  Gradients all;
  const Variable x(net.x, true);
  Variable y = (*net.model)(x);
  y.backward(spread(net.context, y.shape(), -1.0f, 1.0f, 13));
  all["x"] = x.grad().to_vector<float>();
  for (auto& [name, p] : net.model->named_parameters()) {
    if (p.grad().defined()) all[name] = p.grad().to_vector<float>();
  }
  return all;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double apart = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    apart += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(apart / std::max(size, 1e-30));
}

}  // namespace

// With powers of two as scales and no bias nothing rounds but the codes, so both paths have the
// same ones, and gradients differ by float sums only.
TEST_CASE("learned scales: fused gradients are those of the float path") {
  for (Case c : learned_cases()) {
    DYNAMIC_SECTION(c.name) {
      c.norm = false;
      Net fused(c), plain(c, 2, false);
      if (fused.bias().defined()) Variable(fused.bias()).mutable_value().fill(0.0f);
      (*fused.model)(Variable(fused.x));
      for (const QuantPoint& point : fused.quantizer->points()) {
        std::vector<Variable> learned = point.quantizer->learned();
        const int32_t z = point.quantizer->grids(4).list[0].zero_point;
        for (int64_t k = 0; k < learned[0].value().numel(); ++k) {
          float& s = learned[0].mutable_value().data<float>()[k];
          s = std::exp2(std::rint(std::log2(s)));
          if (learned.size() > 1) learned[1].mutable_value().data<float>()[k] = -s * z;
        }
      }
      const Gradients want = gradients_of(plain, &fused), got = gradients_of(fused, nullptr);
      REQUIRE(got.size() == want.size());
      for (const auto& [name, values] : got) {
        CAPTURE(name);
        // One number is left of a sum of a thousand that cancel: up to 100 times float's rounding.
        REQUIRE(distance(values, want.at(name)) < 2e-4);
      }
    }
  }
}
