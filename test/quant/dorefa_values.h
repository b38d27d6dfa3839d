// DoReFa quantizers of single tensors.
#pragma once

#include <cmath>
#include <cstring>

#include "quant/dorefa.h"
#include "quant/dorefa_quantize.h"

namespace halftone::test {

using Floats = std::vector<float>;

inline Tensor vector_of(const Context& c, const Floats& v) {
  return Tensor::from(c, Shape{static_cast<int64_t>(v.size())}, v);
}

inline QuantSpec bits_of(int bits) {
  QuantSpec s;
  s.bits = bits;
  return s;
}

inline std::shared_ptr<DorefaQuantize> weights_of(const Variable& w, int bits) {
  const FakeQuantizeArgs args{QuantType::kWeight, bits_of(bits), 0, false};
  return make<DorefaQuantize>(w.context(), args, w);
}

inline std::shared_ptr<DorefaQuantize> activations(const Context& c, int bits, bool codes = false) {
  return make<DorefaQuantize>(c, FakeQuantizeArgs{QuantType::kInput, bits_of(bits), 0, codes});
}

inline std::shared_ptr<DorefaGradient> gradient_of(const Context& c, int bits) {
  return make<DorefaGradient>(c, FakeQuantizeArgs{QuantType::kGradient, bits_of(bits), 0, true});
}

inline int64_t ulps(float a, float b) {
  int32_t x, y;
  std::memcpy(&x, &a, 4);
  std::memcpy(&y, &b, 4);
  return std::llabs(static_cast<int64_t>(x) - y);
}

// NNI's case G19: the gradient of the quantized weights of a Linear(5, 2).
inline const Floats kUpstream = {-1.019967794418335f,  0.640358567237854f,   0.38583001494407654f,
                                 0.6560598015785217f,  0.4015311896800995f,  0.3169463276863098f,
                                 -0.7053530812263489f, -0.9474592208862305f, 0.6401447653770447f,
                                 0.3980385661125183f};

// What gradient an upstream gradient becomes behind a quantizer of x.
inline Floats backward(FakeQuantize& q, const Variable& x, const Floats& upstream) {
  Variable y = q({x});
  y.backward(Tensor::from(x.context(), x.shape(), upstream));
  return x.grad().to_vector<float>();
}

// d/dw of sum dy tanh(w) / max |tanh|, the unrounded weights, by central differences in double.
inline double difference(const Floats& w, const Floats& dy, size_t at) {
  const auto loss = [&](double value) {
    double largest = 0, sum = 0;
    std::vector<double> t;
    for (size_t i = 0; i < w.size(); ++i)
      t.push_back(std::tanh(i == at ? value : static_cast<double>(w[i])));
    for (const double v : t) largest = std::max(largest, std::fabs(v));
    for (size_t i = 0; i < w.size(); ++i) sum += static_cast<double>(dy[i]) * t[i] / largest;
    return sum;
  };
  const double v = static_cast<double>(w[at]), h = 1e-5;
  return (loss(v + h) - loss(v - h)) / (2 * h);
}

}  // namespace halftone::test
