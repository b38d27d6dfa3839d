// The JSON header of a safetensors file: which tensor lies where.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace halftone {

inline constexpr uint64_t kMaxSafetensorsHeader = 100000000;  // bytes; the format's own limit

// An element type as the format spells it, and the type that holds it here. F16, F64 and I16 are
// only read: they differ from what holds them.
struct SafetensorsType {
  const char* name;
  size_t bytes;
  DType dtype;
};
const SafetensorsType& safetensors_type(DType dtype);

struct SafetensorsEntry {
  std::string name;
  SafetensorsType type;
  Shape shape;
  uint64_t begin = 0, end = 0;  // bytes, counted from the end of the header
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
};

// Throws Error (at `path`) unless the entries tile [0, data_bytes) exactly.
SafetensorsHeader parse_safetensors_header(const std::string& path, const std::string& json,
                                           uint64_t data_bytes);

}  // namespace halftone
