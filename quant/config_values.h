// config_list as C++ values.
#pragma once

#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace halftone {

// A value for all quant_types of an entry, or one per type: 8, or {{"weight", 4}, {"input", 8}}.
template <class T>
struct ByType {
  template <class U, class = std::enable_if_t<std::is_convertible_v<U, T>>>
  ByType(U value) : all(T(std::move(value))) {}                        // NOLINT: implicit
  ByType(std::initializer_list<std::pair<const std::string, T>> list)  // NOLINT: implicit
      : each(list) {}
  std::optional<T> all;
  std::map<std::string, T> each;
};

// One entry; the members are the keys of the JSON form (config.h), absent where they are not set.
struct ConfigValues {
  std::optional<std::vector<std::string>> quant_types, op_types, op_names;
  std::optional<ByType<int>> quant_bits, first_layer_bits, last_layer_bits, axis;
  std::optional<ByType<std::string>> quant_dtype, quant_scheme;
  std::optional<bool> exclude;
  std::optional<int64_t> quant_start_step, bn_freeze_step;
  std::optional<double> ema_decay, percentile;
  std::optional<ByType<std::string>> observer;
  std::optional<std::string> fold;
  std::optional<bool> reduce_range;
  // Of BNN.
  std::optional<ByType<std::string>> binarization, sign_gradient;
  std::optional<bool> xnor_scale;
  std::optional<int> padding_value;
};

// JSON text in NNI's form, or a list of C++ values: both go through the same checks, in compress().
class ConfigList {
 public:
  ConfigList(std::string json) : json_(std::move(json)) {}  // NOLINT: implicit
  ConfigList(const char* json) : json_(json) {}             // NOLINT: implicit
  ConfigList(const std::vector<ConfigValues>& entries);     // NOLINT: implicit
  const std::string& json() const { return json_; }

 private:
  std::string json_;
};

}  // namespace halftone
