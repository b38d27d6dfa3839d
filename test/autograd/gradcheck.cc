#include "test/autograd/gradcheck.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace halftone::test {
namespace {

// sum(r * (high - low)).
double weighted_difference(const Tensor& r, const Tensor& high, const Tensor& low) {
  const std::vector<float> w = r.to_vector<float>(), a = high.to_vector<float>(),
                           b = low.to_vector<float>();
  double sum = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    sum += double{w[i]} * (static_cast<double>(a[i]) - static_cast<double>(b[i]));
  }
  return sum;
}

class Prober {
 public:
  Prober(const Function& f, const std::vector<Tensor>& inputs, const Tensor& r) : f_(f), r_(r) {
    for (const Tensor& input : inputs) probes_.emplace_back(input.clone());
  }

  double derivative(size_t i, int64_t k) {
    float& element = probes_[i].mutable_value().data<float>()[k];
    const float at = element;
    const auto value_at = [&](double x) {
      element = static_cast<float>(x);
      return f_(probes_).value().clone();
    };
    const Tensor high = value_at(at + kStep);
    const double x_high = element;
    const Tensor low = value_at(at - kStep);
    const double x_low = element;
    element = at;
    return weighted_difference(r_, high, low) / (x_high - x_low);
  }

 private:
  const Function& f_;
  const Tensor& r_;
  std::vector<Variable> probes_;
};

double input_error(Prober& prober, size_t i, const Tensor& gradient) {
  if (!gradient.defined()) return std::numeric_limits<double>::infinity();
  const std::vector<float> g = gradient.to_vector<float>();
  double largest = 1e-6, error = 0;
  for (size_t k = 0; k < g.size(); ++k) {
    const double numeric = prober.derivative(i, static_cast<int64_t>(k));
    largest = std::max(largest, std::abs(numeric));
    error = std::max(error, std::abs(numeric - g[k]));
    if (std::isnan(g[k])) return std::numeric_limits<double>::infinity();
  }
  return error / largest;
}

}  // namespace

double gradient_error(const Function& f, const std::vector<Tensor>& inputs) {
  std::vector<Variable> leaves;
  for (const Tensor& input : inputs) leaves.emplace_back(input.clone(), true);
  Variable y = f(leaves);
  const Tensor r = random_tensor(y.context(), y.shape(), 1234567);
  y.backward(r);
  Prober prober(f, inputs, r);
  double error = 0;
  for (size_t i = 0; i < leaves.size(); ++i) {
    error = std::max(error, input_error(prober, i, leaves[i].grad()));
  }
  return error;
}

Tensor random_tensor(const Context& context, const Shape& shape, uint64_t seed, float deviation) {
  const Philox stream{seed, 0};
  std::vector<float> values(shape.numel());
  for (size_t i = 0; i < values.size(); ++i) values[i] = deviation * stream.normal(i);
  return Tensor::from<float>(context, shape, values);
}

Tensor spaced_tensor(const Context& context, const Shape& shape, uint64_t seed) {
  const Philox stream{seed, 0};
  const int64_t n = shape.numel();
  std::vector<float> values(n);
  for (int64_t i = 0; i < n; ++i) values[i] = 0.05f * static_cast<float>(i - n / 2) + 0.02f;
  for (int64_t i = n - 1; i > 0; --i) std::swap(values[i], values[stream.below(i, i + 1)]);
  return Tensor::from<float>(context, shape, values);
}

}  // namespace halftone::test
