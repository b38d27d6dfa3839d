#include "kernels/activation.h"

#include <catch2/catch.hpp>

#include "test/kernels/oracle.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

namespace {

ActivationOptions options_of(Activation kind) {
  ActivationOptions options;
  options.kind = kind;
  return options;
}

// PyTorch's definitions, forward in x and derivative in x.
double forward(const ActivationOptions& o, double x) {
  if (std::isnan(x)) return x;
  switch (o.kind) {
    case Activation::kIdentity:
      return x;
    case Activation::kReLU:
      return std::fmax(x, 0.0);
    case Activation::kReLU6:
      return std::fmin(std::fmax(x, 0.0), 6.0);
    case Activation::kHardtanh:
      return std::fmin(std::fmax(x, o.low), o.high);
    case Activation::kLeakyReLU:
      return x > 0.0 ? x : x * o.slope;
    case Activation::kSigmoid:
      return 1.0 / (1.0 + std::exp(-x));
  }
  return 0.0;
}

double derivative(const ActivationOptions& o, double x) {
  const double s = 1.0 / (1.0 + std::exp(-x));
  switch (o.kind) {
    case Activation::kIdentity:
      return 1.0;
    case Activation::kReLU:
      return x <= 0.0 ? 0.0 : 1.0;
    case Activation::kReLU6:
      return x <= 0.0 || x >= 6.0 ? 0.0 : 1.0;
    case Activation::kHardtanh:
      return x <= o.low || x >= o.high ? 0.0 : 1.0;
    case Activation::kLeakyReLU:
      return x > 0.0 ? 1.0 : o.slope;
    case Activation::kSigmoid:
      return s * (1.0 - s);
  }
  return 0.0;
}

std::vector<float> probes() {
  std::vector<float> x = random_values(70001, 11, -9.0f, 9.0f);
  // The kinks themselves, their neighbours, and far out.
  for (float kink : {0.0f, -0.0f, 6.0f, -1.0f, 1.0f, 100.0f, -100.0f, kInf, -kInf}) {
    x.insert(x.end(), {kink, std::nextafter(kink, kInf), std::nextafter(kink, -kInf)});
  }
  return x;
}

const std::vector<Activation> kAll = {Activation::kIdentity,  Activation::kReLU,
                                      Activation::kReLU6,     Activation::kHardtanh,
                                      Activation::kLeakyReLU, Activation::kSigmoid};

}  // namespace

TEST_CASE("activations agree with their formulas, kinks and infinities included") {
  const Context context = with_threads(2);
  const std::vector<float> values = probes();
  const Tensor x = Tensor::from<float>(context, {static_cast<int64_t>(values.size())}, values);
  for (Activation kind : kAll) {
    CAPTURE(static_cast<int>(kind));
    Tensor y = like(x);
    kernels::activation(x, options_of(kind), y);
    const auto out = y.to_vector<float>();
    const bool rounds = kind == Activation::kSigmoid || kind == Activation::kLeakyReLU;
    for (size_t i = 0; i < values.size(); ++i) {
      const double expected = forward(options_of(kind), values[i]);
      // Clamps are exact. exp, a sum and a quotient in float round to within 4 units of 2^-24.
      const double slack = rounds ? 4 * 0x1p-24 * std::fabs(expected) + 0x1p-126 : 0.0;
      const bool same = out[i] == expected || std::fabs(out[i] - expected) <= slack;
      if (!same) FAIL(values[i] << " gives " << out[i] << ", not " << expected);
    }
  }
}

TEST_CASE("activation gradients come from the output, 0 at the kinks as in PyTorch") {
  const Context context = with_threads(2);
  const std::vector<float> values = probes();
  const int64_t n = static_cast<int64_t>(values.size());
  const Tensor x = Tensor::from<float>(context, {n}, values);
  const Tensor dy = random_tensor(context, {n}, 12);
  const auto g = dy.to_vector<float>();
  for (Activation kind : kAll) {
    CAPTURE(static_cast<int>(kind));
    Tensor y = like(x), dx = like(x);
    kernels::activation(x, options_of(kind), y);
    kernels::activation_backward(dy, y, options_of(kind), dx);
    const auto d = dx.to_vector<float>();
    const bool clamp = kind != Activation::kSigmoid && kind != Activation::kLeakyReLU;
    for (size_t i = 0; i < values.size(); ++i) {
      const double expected = g[i] * derivative(options_of(kind), values[i]);
      // Sigmoid: 1 - y loses what y rounds away, at most 2^-24 of 1.
      const double slack = clamp ? 0.0 : 4 * 0x1p-24 * std::fabs(g[i]);
      if (!(std::fabs(d[i] - expected) <= slack)) {
        FAIL(values[i] << " gives " << d[i] << ", not " << expected);
      }
    }
  }
}

TEST_CASE("a NaN passes through every activation") {
  const Tensor x = Tensor::full(Context(), {19}, kNan);
  for (Activation kind : kAll) {
    Tensor y = Tensor::zeros(x.context(), {19});
    kernels::activation(x, options_of(kind), y);
    for (float v : y.to_vector<float>()) REQUIRE(std::isnan(v));
  }
}

TEST_CASE("activations refuse options without a meaning") {
  Tensor x = Tensor::zeros(Context(), {3});
  ActivationOptions empty = options_of(Activation::kHardtanh);
  empty.low = 1.0f;
  REQUIRE_THAT(error_of([&] { kernels::activation(x, empty, x); }), Contains("low < high"));
  ActivationOptions falling = options_of(Activation::kLeakyReLU);
  falling.slope = -0.1f;
  REQUIRE_THAT(error_of([&] { kernels::activation_backward(x, x, falling, x); }),
               Contains("slope"));
}

TEST_CASE("dropout keeps what the stream says, element by element, on any thread count") {
  const Philox stream{42, 3};
  for (int64_t n : {int64_t{0}, int64_t{1}, int64_t{6}, int64_t{70003}}) {
    for (int threads : {1, 3}) {
      const Tensor x = random_tensor(with_threads(threads), {n}, 13);
      Tensor y = like(x);
      kernels::dropout(x, 0.3f, stream, y);
      const auto in = x.to_vector<float>(), out = y.to_vector<float>();
      for (size_t i = 0; i < in.size(); ++i) {
        REQUIRE(out[i] == (stream.uniform(i) < 0.3f ? 0.0f : in[i] * (1.0f / (1.0f - 0.3f))));
      }
    }
  }
}

TEST_CASE("dropout at its ends: p = 0 keeps all, p = 1 drops all, a NaN too") {
  const Context context;
  const Tensor x = Tensor::from<float>(context, {5}, {1, -2, kNan, kInf, 5});
  Tensor y = like(x);
  kernels::dropout(x, 0.0f, Philox{1, 1}, y);
  REQUIRE(same_bits(y.to_vector<float>(), x.to_vector<float>()));
  kernels::dropout(x, 1.0f, Philox{1, 1}, y);
  REQUIRE(y.to_vector<float>() == std::vector<float>(5, 0.0f));
  REQUIRE_THAT(error_of([&] { kernels::dropout(x, 1.5f, Philox{1, 1}, y); }), Contains("[0, 1]"));
}
