#include <catch2/catch.hpp>

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
  std::vector<double> v(o.acc.size());
  const int64_t cg = o.w_shape[3], og = channels / o.options.groups;
  size_t at = 0;
  for (int64_t n = 0; n < o.y_shape[0]; ++n)
    for (int64_t i = 0; i < o.y_shape[1]; ++i)
      for (int64_t j = 0; j < o.y_shape[2]; ++j)
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

}  // namespace

TEST_CASE("chain gradients are those of the unrounded epilogue") {
  for (Case c : cases()) {
    if (c.conv.dilation != 1) continue;  // the plain form above has none
    for (const bool train : {true, false}) {
      DYNAMIC_SECTION(c.name << (train ? ", training" : ", evaluation")) {
        Net net(c);
        if (c.norm) net.norm->weight.mutable_value().data<float>()[2] = 0.3f;
        (*net.model)(Variable(net.x));
        net.model->train(train);
        net.x = spread(net.context, net.x.shape(), -1.0f, 2.1f, 9);
        LayerOracle o = oracle_of(c, net);
        const Variable x(net.x, true);
        const Variable y = (*net.model)(x);
        take_grids(net, o, *y.codes());
        o.run();
        const Tensor up = spread(net.context, y.shape(), -1.0f, 1.0f, 13);
        y.value();
        Variable result = y;
        result.backward(up);
        Point p;
        std::vector<char> mask;
        for (size_t i = 0; i < o.x_codes.size(); ++i) {
          p.x.push_back(o.x_scale * static_cast<double>(o.x_codes[i] - o.x_zero));
          const int64_t code =
              nearest_even(net.x.data<float>()[i] / static_cast<float>(o.x_scale)) + o.x_zero;
          mask.push_back(code >= 0 && code <= 255);
        }
        const size_t n = o.q_weight.size() / o.channels();
        for (size_t i = 0; i < o.q_weight.size(); ++i) {
          p.w.push_back(static_cast<double>(o.w_scale[i / n]) * static_cast<double>(o.q_weight[i]));
        }
        p.bias = widen(o.bias);
        p.gamma = widen(o.gamma);
        p.beta = widen(o.beta);
        const std::vector<float> u = up.to_vector<float>();
        check("x", &Point::x, x.grad(), p, o, u, mask);
        check("weight", &Point::w, net.weight().grad(), p, o, u);
        if (c.norm) {
          check("gamma", &Point::gamma, net.norm->weight.grad(), p, o, u);
          check("beta", &Point::beta, net.norm->bias.grad(), p, o, u);
        }
        if (net.bias().defined() && !(c.norm && train))
          check("bias", &Point::bias, net.bias().grad(), p, o, u);
        if (net.bias().defined() && c.norm && train) {
          for (const float g : net.bias().grad().to_vector<float>())
            REQUIRE(g == 0.0f);  // it cancels
        }
      }
    }
  }
}
