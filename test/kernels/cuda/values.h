// Inputs and comparisons of the parity cases.
#pragma once

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/walk.h"
#include "tensor/tensor.h"

namespace halftone::test {

using kernels::cuda::ChannelLayout;

inline std::string text(const ChannelLayout& l) {
  return std::to_string(l.outer) + "x" + std::to_string(l.channels) + "x" + std::to_string(l.inner);
}

inline std::vector<float> random_values(int64_t n, uint32_t seed, float deviation = 2.0f) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values(n);
  for (float& v : values) v = normal(rng);
  return values;
}

// Values that rules get wrong: zeros, denormals, infinities, NaN, ties of scale 0.5, huge ones.
inline std::vector<float> awkward_values(int64_t n, uint32_t seed) {
  const float inf = std::numeric_limits<float>::infinity();
  const float list[] = {0.0f,   -0.0f,  1e-45f,        -1e-45f, 1e-39f, inf,    -inf,
                        3e38f,  -3e38f, 0.25f,         0.75f,   -0.25f, -0.75f, 1.25f,
                        -1.25f, 63.75f, 64.25f,        127.25f, -64.0f, 1.0f,   -1.0f,
                        0.5f,   2.5f,   std::nanf(""), 1e-20f,  3.75f};
  std::vector<float> values = random_values(n, seed, 20.0f);
  std::mt19937 rng(seed + 1);
  for (float& v : values) {
    if (rng() % 2 == 0) v = list[rng() % (sizeof list / sizeof *list)];
  }
  return values;
}

inline std::vector<BFloat16> to_bfloat16(const std::vector<float>& values) {
  std::vector<BFloat16> out;
  for (const float v : values) out.push_back(BFloat16(v));
  return out;
}

inline std::vector<float> to_floats(const std::vector<BFloat16>& values) {
  std::vector<float> out;
  for (const BFloat16 v : values) out.push_back(static_cast<float>(v));
  return out;
}
inline std::vector<float> to_floats(const std::vector<float>& values) { return values; }

template <class T>
std::vector<T> as(const std::vector<float>& values) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return to_bfloat16(values);
  } else {
    return values;
  }
}

// Same bits; but NaN that an operation made may have any payload (IEEE 754 leaves it open, and x86
// and NVIDIA differ).
template <class T>
bool same_bits(T a, T b) {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, BFloat16>) {
    if (std::isnan(static_cast<float>(a)) && std::isnan(static_cast<float>(b))) return true;
  }
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

// Position of the first difference; -1: none.
template <class T>
int64_t first_difference(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return static_cast<int64_t>(std::min(a.size(), b.size()));
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same_bits(a[i], b[i])) return static_cast<int64_t>(i);
  }
  return -1;
}

template <class T>
void require_same_bits(const std::vector<T>& got, const std::vector<T>& want) {
  const int64_t at = first_difference(got, want);
  INFO("first difference at " << at << " of " << want.size());
  REQUIRE(at == -1);
}

// Within `most` of the reference, absolutely; the caller says why that much.
inline void require_within(const std::vector<float>& got, const std::vector<float>& want,
                           double most) {
  REQUIRE(got.size() == want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (same_bits(got[i], want[i])) continue;
    INFO(i << ": " << got[i] << " instead of " << want[i]);
    REQUIRE(std::fabs(static_cast<double>(got[i]) - static_cast<double>(want[i])) <= most);
  }
}

inline Tensor tensor_of(const Context& context, const ChannelLayout& l,
                        const std::vector<float>& values) {
  return Tensor::from(context, Shape{l.outer, l.channels, l.inner}, values);
}

}  // namespace halftone::test
