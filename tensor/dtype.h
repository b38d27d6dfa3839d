// Element types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace halftone {

enum class DType : uint8_t { kFloat32, kBFloat16, kInt8, kUInt8, kInt32, kInt64, kBool };

// Bit pattern of a bfloat16; rounding to nearest even on conversion from float.
struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(float value);
  explicit operator float() const;
};

size_t size_of(DType dtype);
std::string name_of(DType dtype);  // "float32", "bfloat16", ...

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kFloat32;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::kBFloat16;
};
template <>
struct DTypeOf<int8_t> {
  static constexpr DType value = DType::kInt8;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::kUInt8;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::kInt32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::kInt64;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::kBool;
};

}  // namespace halftone
