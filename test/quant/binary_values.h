// Binary quantizers of single tensors, and a binary convolution.
#pragma once

#include <cmath>

#include "quant/binary_quantize.h"
#include "quant/bnn.h"

namespace halftone::test {

using Floats = std::vector<float>;

inline Tensor vector_of(const Context& c, const Floats& v) {
  return Tensor::from(c, Shape{static_cast<int64_t>(v.size())}, v);
}

inline QuantSpec binary() {
  QuantSpec s;
  s.bits = 1;
  return s;
}

inline std::shared_ptr<BinaryQuantize> weights_of(const Variable& w,
                                                  const QuantSpec& spec = binary()) {
  return make<BinaryQuantize>(w.context(), FakeQuantizeArgs{QuantType::kWeight, spec, 0, false}, w);
}

inline std::shared_ptr<BinaryQuantize> activations(const Context& c,
                                                   const QuantSpec& spec = binary(),
                                                   bool codes = false) {
  return make<BinaryQuantize>(c, FakeQuantizeArgs{QuantType::kOutput, spec, 0, codes});
}

inline Floats values(FakeQuantize& q, const Variable& x) {
  return q({x}).value().to_vector<float>();
}

inline Floats backward(FakeQuantize& q, const Variable& x, const Floats& upstream) {
  Variable y = q({x});
  y.backward(Tensor::from(x.context(), x.shape(), upstream));
  return x.grad().to_vector<float>();
}

inline const float kAbove = std::nextafter(1.0f, 2.0f), kInside = std::nextafter(1.0f, 0.0f);
inline const Floats kEdges{-3, -kAbove, -1, -kInside, -0.5f, -0.0f, 0, 0.5f, kInside, 1, kAbove, 3};

// A convolution that pads with `padding`, its binary weights and input, quantized or not.
struct BinaryConv {
  BinaryConv(int padding, bool integer) : net(make<Sequential>(context)) {
    Conv2dArgs args{3, 4, 3};
    args.padding = 1;
    conv = make<Conv2d>(context, args);
    net->append("conv", conv);
    QuantizerOptions options;
    options.integer = integer;
    quantizer = std::make_unique<BnnQuantizer>(
        *net,
        R"([{"quant_types": ["weight", "input"], "quant_bits": 1, "op_types": ["Conv2d"],
             "padding_value": )" +
            std::to_string(padding) + "}]",
        nullptr, Tensor::zeros(context, {1, 4, 5, 3}), options);
    quantizer->compress();
  }
  Context context;
  std::shared_ptr<Sequential> net;
  std::shared_ptr<Conv2d> conv;
  std::unique_ptr<BnnQuantizer> quantizer;
};

}  // namespace halftone::test
