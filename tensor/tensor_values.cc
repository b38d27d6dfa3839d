// Values in and out of a Tensor, and conversions between element types.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "tensor/tensor.h"

namespace halftone {
namespace {

// Calls f with a null pointer of the element type.
template <class F>
void visit(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kFloat32:
      return f(static_cast<float*>(nullptr));
    case DType::kBFloat16:
      return f(static_cast<BFloat16*>(nullptr));
    case DType::kInt8:
      return f(static_cast<int8_t*>(nullptr));
    case DType::kUInt8:
      return f(static_cast<uint8_t*>(nullptr));
    case DType::kInt32:
      return f(static_cast<int32_t*>(nullptr));
    case DType::kInt64:
      return f(static_cast<int64_t*>(nullptr));
    case DType::kBool:
      return f(static_cast<bool*>(nullptr));
  }
}

// Towards zero, saturating; NaN becomes 0.
template <class To>
To to_integer(float value) {
  using Limits = std::numeric_limits<To>;
  // 2^digits is exact in float; max() itself may round up to it.
  if (value >= std::ldexp(1.0f, Limits::digits)) return Limits::max();
  if (value <= static_cast<float>(Limits::min())) return Limits::min();
  return std::isnan(value) ? To{0} : static_cast<To>(value);
}

template <class To>
To to_integer(int64_t value) {
  using Limits = std::numeric_limits<To>;
  return static_cast<To>(std::clamp<int64_t>(value, Limits::min(), Limits::max()));
}

// Widest type that holds every value of the source exactly.
inline float widen(float v) { return v; }
inline float widen(BFloat16 v) { return static_cast<float>(v); }
template <class T>
int64_t widen(T v) {
  return static_cast<int64_t>(v);
}

template <class To, class Wide>
To narrow(Wide value) {
  if constexpr (std::is_same_v<To, float>) {
    return static_cast<float>(value);
  } else if constexpr (std::is_same_v<To, BFloat16>) {
    return BFloat16(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, bool>) {
    return value != 0;
  } else {
    return to_integer<To>(value);
  }
}

}  // namespace

void Tensor::fill(float value) {
  DeviceRuntime* device = context().runtime();
  visit(dtype_, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T element = narrow<T>(value);
    if (device == nullptr) return void(std::fill_n(data<T>(), numel(), element));
    uint64_t bits = 0;
    std::memcpy(&bits, &element, sizeof element);
    device->fill(data_, sizeof element, bits, numel());
  });
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor result = empty(context(), shape_, dtype);
  if (DeviceRuntime* device = context().runtime()) {
    if (device->convert(data_, dtype_, result.data_, dtype, numel())) return result;
    result.copy_from(to(context().host()).to(dtype));
    return result;
  }
  visit(dtype_, [&](auto* from_type) {
    using From = std::remove_pointer_t<decltype(from_type)>;
    const From* from = data<From>();
    visit(dtype, [&](auto* to_type) {
      using To = std::remove_pointer_t<decltype(to_type)>;
      To* to = result.data<To>();
      std::transform(from, from + numel(), to, [](From v) { return narrow<To>(widen(v)); });
    });
  });
  return result;
}

template <class T>
Tensor Tensor::from(const Context& context, const Shape& shape, const std::vector<T>& values) {
  if (static_cast<int64_t>(values.size()) != shape.numel()) {
    throw HALFTONE_ERROR("tensor")
        .expected(std::to_string(shape.numel()) + " values for " + shape.str())
        .found(std::to_string(values.size()));
  }
  Tensor t = empty(context.host(), shape, DTypeOf<T>::value);
  std::copy(values.begin(), values.end(), t.data<T>());
  return t.to(context);
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  if (!on_host_) return to(context().host()).to_vector<T>();
  const T* values = data<T>();
  return std::vector<T>(values, values + numel());
}

template <class T>
T Tensor::item() const {
  if (numel() != 1) {
    throw HALFTONE_ERROR("item").expected("one element").found("shape " + shape_.str());
  }
  return on_host_ ? *data<T>() : *to(context().host()).data<T>();
}

#define HALFTONE_INSTANTIATE(T)                                                         \
  template Tensor Tensor::from<T>(const Context&, const Shape&, const std::vector<T>&); \
  template std::vector<T> Tensor::to_vector<T>() const;                                 \
  template T Tensor::item<T>() const;
HALFTONE_INSTANTIATE(float)
HALFTONE_INSTANTIATE(BFloat16)
HALFTONE_INSTANTIATE(int8_t)
HALFTONE_INSTANTIATE(uint8_t)
HALFTONE_INSTANTIATE(int32_t)
HALFTONE_INSTANTIATE(int64_t)
HALFTONE_INSTANTIATE(bool)
#undef HALFTONE_INSTANTIATE

}  // namespace halftone
