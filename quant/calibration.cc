// NNI's calibration files.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>

#include "nn/input_check.h"
#include "quant/export_record.h"
#include "tensor/nearest.h"

namespace halftone {
namespace {

using Json = nlohmann::json;

// A number, or a list for more than one channel.
template <class Get>
Json numbers(const FakeQuantize& q, Get get) {
  Json list = Json::array();
  for (const kernels::Range& r : q.ranges()) list.push_back(get(r));
  return list.size() == 1 ? list[0] : list;
}

void add_range(const FakeQuantize& q, const std::string& type, Json& layer) {
  layer["tracked_min_" + type] = numbers(q, [](const kernels::Range& r) { return r.low; });
  layer["tracked_max_" + type] = numbers(q, [](const kernels::Range& r) { return r.high; });
}

// What NNI's ObserverQuantizer exports too.
void add_code_range(const QuantPoint& point, Json& layer) {
  const FakeQuantize& q = *point.quantizer;
  const std::string type = name_of(point.type);
  const quant_math::Grid g = quant_math::empty_grid(q.spec().rule());
  add_range(q, type, layer);
  layer["tracked_qmin_" + type] = g.qmin;
  layer["tracked_qmax_" + type] = g.qmax;
}

void add_calibration(const QuantPoint& point, Json& layer) {
  const FakeQuantize& q = *point.quantizer;
  const std::string type = name_of(point.type);
  layer[type + "_bits"] = q.spec().bits;
  if (!q.initialised() || point.type == QuantType::kGradient || point.type == QuantType::kBias)
    return;
  if (point.type != QuantType::kWeight) return add_range(q, type, layer);
  for (const quant_math::Grid& g : q.grids(4).list) {
    layer["weight_scale"].push_back(g.scale);
    layer["weight_zero_point"].push_back(g.zero_point);
  }
}

constexpr QuantType kTypes[] = {QuantType::kWeight, QuantType::kInput, QuantType::kOutput};

// One point's part of a file.
struct Entry {
  const QuantPoint* point;
  std::vector<kernels::Range> ranges;
  std::vector<quant_math::Grid> grids;
  bool one_sided = false;  // grids that have no codes for half of the weight: not taken
};

[[noreturn]] void fail(const std::string& where, const std::string& expected,
                       const std::string& found) {
  throw HALFTONE_ERROR("load_calibration_config").at(where).expected(expected).found(found);
}

std::vector<float> number_list(const Json& layer, const std::string& key,
                               const std::string& where) {
  if (!layer.contains(key)) return {};
  const Json& value = layer[key];
  if (value.is_number()) return {value.get<float>()};
  const bool good = value.is_array() && std::all_of(value.begin(), value.end(),
                                                    [](const Json& v) { return v.is_number(); });
  if (!good) fail(where, "a number or a list of numbers in " + key, value.dump());
  return value.get<std::vector<float>>();
}

void check_bits(const Json& layer, const std::string& where, const QuantPoint& point) {
  const std::string key = name_of(point.type) + "_bits";
  const int bits = point.quantizer->spec().bits;
  if (layer.contains(key) && layer[key] != bits)
    fail(where, key + " " + std::to_string(bits) + ", as config_list says", layer[key].dump());
}

// The tracked ranges of an input or output; empty where the file has none.
std::vector<kernels::Range> read_ranges(const Json& layer, const std::string& where,
                                        const QuantPoint& point) {
  const std::string type = name_of(point.type);
  const auto low = number_list(layer, "tracked_min_" + type, where);
  const auto high = number_list(layer, "tracked_max_" + type, where);
  if (low.size() != high.size()) {
    fail(where, "as many tracked_min_" + type + " as tracked_max_" + type,
         std::to_string(low.size()) + " and " + std::to_string(high.size()));
  }
  if (!low.empty() && !point.quantizer->spec().per_channel && low.size() != 1)
    fail(where, "one range per tensor", std::to_string(low.size()));
  std::vector<kernels::Range> ranges;
  for (size_t c = 0; c < low.size(); ++c) {
    ranges.push_back({low[c], high[c]});
    const bool finite = std::isfinite(low[c]) && std::isfinite(high[c] - low[c]);
    if (finite && low[c] <= high[c]) continue;
    fail(where, "finite tracked_min_" + type + " <= tracked_max_" + type,
         short_number(low[c]) + " and " + short_number(high[c]));
  }
  return ranges;
}

// Whether weights of both signs have codes of both: grids of another quant_dtype, which NNI's keys
// do not say, may have none below zero.
bool reach_both_sides(const Tensor& weight, const std::vector<quant_math::Grid>& grids) {
  const kernels::Range seen = kernels::observe_ranges(weight).at(0);
  kernels::Range reached{0, 0};
  for (const quant_math::Grid& g : grids) {
    reached = {std::min(reached.low, quant_math::dequantize(g.qmin, g)),
               std::max(reached.high, quant_math::dequantize(g.qmax, g))};
  }
  return (seen.low >= 0 || reached.low < 0) && (seen.high <= 0 || reached.high > 0);
}

// The scales and zero points of a weight; empty where the file has none.
std::vector<quant_math::Grid> read_grids(const Json& layer, const std::string& where,
                                         const QuantPoint& point) {
  const auto scales = number_list(layer, "weight_scale", where);
  auto zeros = number_list(layer, "weight_zero_point", where);
  std::vector<quant_math::Grid> grids = point.quantizer->grids(4).list;
  if (scales.empty()) return {};
  const quant_math::Grid empty = point.quantizer->empty_grid();
  const bool symmetric = point.quantizer->spec().symmetric;
  if (zeros.empty() && symmetric) zeros.assign(scales.size(), static_cast<float>(empty.zero_point));
  if (scales.size() != grids.size() || zeros.size() != grids.size()) {
    fail(where, std::to_string(grids.size()) + " of weight_scale and weight_zero_point",
         std::to_string(scales.size()) + " and " + std::to_string(zeros.size()));
  }
  const int32_t least = symmetric ? empty.zero_point : empty.qmin;
  const int32_t largest = symmetric ? empty.zero_point : empty.qmax;
  for (size_t c = 0; c < grids.size(); ++c) {
    if (!std::isfinite(scales[c]) || scales[c] < quant_math::kScaleFloor)
      fail(where, "a weight_scale of at least 2^-23", short_number(scales[c]));
    const bool fits = zeros[c] == std::rint(zeros[c]) && zeros[c] >= static_cast<float>(least) &&
                      zeros[c] <= static_cast<float>(largest);
    if (!fits) {
      fail(where,
           "a whole weight_zero_point from " + std::to_string(least) + " to " +
               std::to_string(largest),
           short_number(zeros[c]));
    }
    grids[c].scale = scales[c];
    grids[c].zero_point = static_cast<int32_t>(zeros[c]);
  }
  return grids;
}

// What one layer's part of the file gives the points. Its keys of types that are not quantized here
// go to `unused`.
std::vector<Entry> read_layer(const std::string& module, const Json& layer,
                              const std::string& where, const std::vector<QuantPoint>& points,
                              Module& model, std::vector<std::string>& unused) {
  if (!layer.is_object()) fail(where, "a JSON object of ranges", layer.dump());
  std::vector<Entry> entries;
  std::vector<std::string> names;
  std::set<QuantType> known;
  for (const QuantPoint& point : points) {
    names.push_back(point.module);
    if (point.module != module) continue;
    known.insert(point.type);
    check_bits(layer, where, point);
    Entry entry{&point, {}, {}};
    point.type == QuantType::kWeight ? void(entry.grids = read_grids(layer, where, point))
                                     : void(entry.ranges = read_ranges(layer, where, point));
    const auto* of = dynamic_cast<const WeightLayer*>(model.find(module));
    entry.one_sided =
        of != nullptr && !entry.grids.empty() && !reach_both_sides(of->weight.value(), entry.grids);
    entries.push_back(std::move(entry));
  }
  if (entries.empty())
    fail(where, "a quantized layer", "no such layer" + did_you_mean(module, names));
  for (const QuantType type : kTypes) {
    const std::string name = name_of(type);
    const bool given = layer.contains(name + "_bits") || layer.contains("tracked_max_" + name);
    if (given && known.count(type) == 0) unused.push_back(module + " (" + name + ")");
  }
  return entries;
}

Json read_file(const std::string& path) {
  std::ifstream in(path);
  if (!in)
    throw HALFTONE_ERROR("load_calibration_config")
        .at(path)
        .what_happened("the file cannot be read");
  Json config = Json::parse(in, nullptr, false);
  if (!config.is_object()) fail(path, "a JSON object of layers", "something else");
  return config;
}

// Points that the file gives no range or scale, but for those whose grid follows from their values.
std::vector<std::string> left_out(const std::vector<QuantPoint>& points,
                                  const std::vector<Entry>& entries) {
  std::set<const FakeQuantize*> given;
  for (const Entry& e : entries) {
    if (!e.ranges.empty() || !e.grids.empty()) given.insert(e.point->quantizer.get());
  }
  std::vector<std::string> names;
  for (const QuantPoint& point : points) {
    const FakeQuantize& q = *point.quantizer;
    const bool wanted = std::count(std::begin(kTypes), std::end(kTypes), point.type) > 0 &&
                        (!q.initialised() || !q.learned().empty());
    if (wanted && given.count(&q) == 0)
      names.push_back(point.module + " (" + name_of(point.type) + ")");
  }
  return names;
}

}  // namespace

Json calibration_of(const std::vector<QuantPoint>& points, bool code_ranges) {
  Json calibration;
  for (const QuantPoint& point : points) {
    add_calibration(point, calibration[point.module]);
    if (code_ranges) add_code_range(point, calibration[point.module]);
  }
  return calibration;
}

void Quantizer::load_calibration_config(const std::string& path) {
  check_tree("load_calibration_config");
  const Json config = read_file(path);
  // Everything is read before anything is changed.
  std::vector<Entry> entries;
  std::vector<std::string> unused;
  for (const auto& [module, layer] : config.items()) {
    const std::string where = path + ", " + module;
    for (Entry& e : read_layer(module, layer, where, points_, model_, unused))
      entries.push_back(std::move(e));
  }
  const auto before = model_.state_dict();
  try {
    for (const Entry& e : entries) {
      FakeQuantize& q = *e.point->quantizer;
      if (!e.ranges.empty()) q.set_ranges(e.ranges);
      if (!e.grids.empty() && !e.one_sided) q.set_grids(e.grids);
      if (e.point->type == QuantType::kWeight && (e.one_sided || !q.initialised()))
        q.observe_values(weight_of(*e.point));
    }
  } catch (Error& e) {
    model_.load_state_dict(before);
    throw e.inside(path);
  }
  for (const Entry& e : entries) {
    if (e.one_sided)
      warn(path + ", " + e.point->module +
           ": weight_scale and weight_zero_point have no codes for weights of one sign (another "
           "quant_dtype?): the weight's own range is taken");
  }
  const std::vector<std::string> missing = left_out(points_, entries);
  if (!missing.empty())
    warn(path + " gives no range for " + short_list(missing) + ": they stay as they were");
  if (!unused.empty())
    warn(path + " has values for " + short_list(unused) + ", which config_list does not quantize");
}

}  // namespace halftone
