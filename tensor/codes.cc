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

}  // namespace

Tensor dequantize(const Codes& codes) {
  codes.values.context();
  if (codes.values.dtype() == DType::kUInt8) return dequantize_as<uint8_t>(codes);
  if (codes.values.dtype() == DType::kInt8) return dequantize_as<int8_t>(codes);
  throw HALFTONE_ERROR("dequantize")
      .expected("uint8 or int8 codes")
      .found(name_of(codes.values.dtype()));
}

}  // namespace halftone
