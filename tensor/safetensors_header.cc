#include "tensor/safetensors_header.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "tensor/error.h"

namespace halftone {
namespace {

using nlohmann::json;

constexpr SafetensorsType kTypes[] = {{"F32", 4, DType::kFloat32}, {"BF16", 2, DType::kBFloat16},
                                      {"I8", 1, DType::kInt8},     {"U8", 1, DType::kUInt8},
                                      {"I32", 4, DType::kInt32},   {"I64", 8, DType::kInt64},
                                      {"BOOL", 1, DType::kBool},   {"F16", 2, DType::kFloat32},
                                      {"F64", 8, DType::kFloat32}, {"I16", 2, DType::kInt32}};

// Headers come from strangers: what is quoted from them is kept short.
std::string brief(std::string text) {
  if (text.size() > 200) text.replace(197, std::string::npos, "...");
  return text;
}
std::string brief(const json& value) { return brief(value.dump()); }

Error fault(const std::string& path, int line = __builtin_LINE()) {
  return Error("load safetensors", __FILE__, line).at(path);
}

Error tensor_fault(const std::string& path, const std::string& name, int line = __builtin_LINE()) {
  return fault(path, line).what_happened("tensor \"" + brief(name) + "\"");
}

// Parses with what JSON leaves open decided: a key that comes twice is a fault, and so is nesting
// deeper than a wrong shape is likely to be.
json parse_strictly(const std::string& path, const std::string& text) {
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > 4) throw fault(path).what_happened("the header nests deeper than the format does");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key &&
        !keys.back().insert(parsed.get<std::string>()).second) {
      throw fault(path).what_happened("the header has the key " + brief(parsed) + " twice");
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::exception& e) {
    const std::string what = e.what();
    const size_t id_end = what.find("] ");
    throw fault(path)
        .expected("a JSON header")
        .found(id_end == std::string::npos ? what : brief(what.substr(id_end + 2)));
  }
}

const json& field(const std::string& path, const std::string& name, const json& entry,
                  const char* key) {
  if (!entry.is_object()) {
    throw tensor_fault(path, name).expected("an object").found(brief(entry));
  }
  const auto found = entry.find(key);
  if (found == entry.end()) {
    throw tensor_fault(path, name).expected(std::string("a field ") + key).found(brief(entry));
  }
  return *found;
}

SafetensorsType parse_type(const std::string& path, const std::string& name, const json& value) {
  std::string known;
  for (const SafetensorsType& type : kTypes) {
    if (value == type.name) return type;
    known += (known.empty() ? "" : ", ") + std::string(type.name);
  }
  throw tensor_fault(path, name).expected("one of the dtypes " + known).found(brief(value));
}

bool is_list_of_counts(const json& value) {
  constexpr uint64_t kLimit = INT64_MAX;
  return value.is_array() && std::all_of(value.begin(), value.end(), [](const json& item) {
           return item.is_number_unsigned() && item.get<uint64_t>() <= kLimit;
         });
}

Shape parse_shape(const std::string& path, const std::string& name, const json& value) {
  if (!is_list_of_counts(value) || value.size() > Shape::kMaxRank) {
    throw tensor_fault(path, name)
        .expected("a shape of at most " + std::to_string(Shape::kMaxRank) + " counts")
        .found(brief(value));
  }
  try {
    return Shape(value.get<std::vector<int64_t>>());
  } catch (const Error&) {
    throw tensor_fault(path, name).expected("fewer than 2^63 elements").found(brief(value));
  }
}

SafetensorsEntry parse_entry(const std::string& path, const std::string& name, const json& value) {
  SafetensorsEntry entry;
  entry.name = name;
  entry.type = parse_type(path, name, field(path, name, value, "dtype"));
  entry.shape = parse_shape(path, name, field(path, name, value, "shape"));
  const json& offsets = field(path, name, value, "data_offsets");
  if (!is_list_of_counts(offsets) || offsets.size() != 2 || offsets[0] > offsets[1]) {
    throw tensor_fault(path, name).expected("data_offsets [begin, end]").found(brief(offsets));
  }
  entry.begin = offsets[0];
  entry.end = offsets[1];
  uint64_t bytes;
  if (__builtin_mul_overflow(static_cast<uint64_t>(entry.shape.numel()), entry.type.bytes,
                             &bytes) ||
      bytes != entry.end - entry.begin) {
    throw tensor_fault(path, name)
        .expected(entry.shape.str() + " elements of " + std::to_string(entry.type.bytes) + " bytes")
        .found("data_offsets " + brief(offsets));
  }
  return entry;
}

void parse_metadata(const std::string& path, const json& value,
                    std::map<std::string, std::string>* metadata) {
  const bool good = value.is_object() && std::all_of(value.begin(), value.end(),
                                                     [](auto& item) { return item.is_string(); });
  if (!good) {
    throw fault(path).expected("strings by name under __metadata__").found(brief(value));
  }
  for (const auto& item : value.items()) (*metadata)[item.key()] = item.value();
}

void check_cover(const std::string& path, const std::vector<SafetensorsEntry>& entries,
                 uint64_t data_bytes) {
  uint64_t end = 0;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin != end) {
      throw tensor_fault(path, entry.name)
          .expected("its bytes to begin at offset " + std::to_string(end) +
                    ", where those before it end")
          .found(std::to_string(entry.begin) + (entry.begin < end ? " (overlap)" : " (hole)"));
    }
    end = entry.end;
  }
  if (end == data_bytes) return;
  throw fault(path)
      .what_happened(end > data_bytes ? "the file is truncated" : "the file has bytes to spare")
      .expected(std::to_string(end) + " bytes of tensors")
      .found(std::to_string(data_bytes))
      .fix("fetch or write the file again");
}

}  // namespace

const SafetensorsType& safetensors_type(DType dtype) {
  return *std::find_if(std::begin(kTypes), std::end(kTypes),
                       [&](const SafetensorsType& type) { return type.dtype == dtype; });
}

SafetensorsHeader parse_safetensors_header(const std::string& path, const std::string& text,
                                           uint64_t data_bytes) {
  if (text.empty() || text[0] != '{') {
    throw fault(path)
        .expected("a header that starts with {")
        .found(text.empty() ? "an empty one" : "byte " + std::to_string(text[0] & 0xff))
        .fix("is this a safetensors file?");
  }
  const json parsed = parse_strictly(path, text);
  SafetensorsHeader header;
  for (const auto& item : parsed.items()) {
    if (item.key() == "__metadata__") {
      parse_metadata(path, item.value(), &header.metadata);
    } else {
      header.entries.push_back(parse_entry(path, item.key(), item.value()));
    }
  }
  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  check_cover(path, header.entries, data_bytes);
  return header;
}

}  // namespace halftone
