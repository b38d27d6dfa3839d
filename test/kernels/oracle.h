// What the kernel tests share: contexts, random values and comparisons.
#pragma once

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace halftone::test {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

inline Context with_threads(int threads) {
  ContextOptions options;
  options.threads = threads;
  return Context(options);
}

// Uniform in [low, high).
inline std::vector<float> random_values(int64_t count, uint64_t seed, float low = -2.0f,
                                        float high = 2.0f) {
  const Philox stream{seed, 7};
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = low + (high - low) * stream.uniform(i);
  return values;
}

// Small integers: many ties, and sums that are exact.
inline std::vector<float> random_integers(int64_t count, uint64_t seed, int bound = 4) {
  const Philox stream{seed, 8};
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(stream.below(i, 2 * static_cast<uint64_t>(bound) + 1)) -
                static_cast<float>(bound);
  }
  return values;
}

inline Tensor random_tensor(const Context& context, const Shape& shape, uint64_t seed,
                            float low = -2.0f, float high = 2.0f) {
  return Tensor::from<float>(context, shape, random_values(shape.numel(), seed, low, high));
}

inline Tensor like(const Tensor& x) { return Tensor::full(x.context(), x.shape(), kNan); }

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// max |actual - expected| / max |expected|; infinite when a NaN stands where none is expected.
inline double relative_error(const std::vector<float>& actual,
                             const std::vector<double>& expected) {
  if (actual.size() != expected.size()) return HUGE_VAL;
  double error = 0.0, largest = 0.0;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (std::isnan(actual[i]) != std::isnan(expected[i])) return HUGE_VAL;
    if (std::isnan(expected[i])) continue;
    error = std::fmax(error, std::fabs(static_cast<double>(actual[i]) - expected[i]));
    largest = std::fmax(largest, std::fabs(expected[i]));
  }
  return largest > 0.0 ? error / largest : error;
}

// The text of the Error that body throws, "" if it throws none.
inline std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace halftone::test
