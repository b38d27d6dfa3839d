#include "tensor/codes.h"

namespace halftone {
namespace {

template <class Code>
Tensor dequantize_as(const Codes& codes) {
  Tensor result = Tensor::empty(codes.values.context(), codes.values.shape());
  const Code* from = codes.values.data<Code>();
  float* to = result.data<float>();
  const float scale = codes.params.scale;
  const int32_t zero_point = codes.params.zero_point;
  const int64_t count = result.numel();
  for (int64_t i = 0; i < count; ++i) {
    to[i] = scale * static_cast<float>(static_cast<int32_t>(from[i]) - zero_point);
  }
  return result;
}

bool same_tensor(const Tensor& a, const Tensor& b) {
  return a.defined() == b.defined() && (!a.defined() || a.raw() == b.raw());
}

template <class T>
T only_value(const Tensor& t) {
  return t.to(t.context().host()).template data<T>()[0];
}

}  // namespace

bool same_grid(const Codes& a, const Codes& b) {
  if (!same_tensor(a.scale, b.scale) || !same_tensor(a.zero_point, b.zero_point)) return false;
  QuantParams p = a.params, q = b.params;
  if (a.scale.defined()) p.scale = q.scale = 1.0f;
  if (a.zero_point.defined()) p.zero_point = q.zero_point = 0;
  return p == q;
}

Codes known(Codes codes) {
  if (codes.scale.defined()) codes.params.scale = only_value<float>(codes.scale);
  if (codes.zero_point.defined()) codes.params.zero_point = only_value<int32_t>(codes.zero_point);
  codes.scale = Tensor();
  codes.zero_point = Tensor();
  return codes;
}

Tensor dequantize(const Codes& codes) {
  codes.values.context();
  if (codes.values.dtype() == DType::kUInt8) return dequantize_as<uint8_t>(codes);
  if (codes.values.dtype() == DType::kInt8) return dequantize_as<int8_t>(codes);
  throw HALFTONE_ERROR("dequantize")
      .expected("uint8 or int8 codes")
      .found(name_of(codes.values.dtype()));
}

}  // namespace halftone
