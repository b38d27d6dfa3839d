// One key of one entry of config_list: what errors are about. Inside //quant only.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tensor/error.h"

namespace halftone {

struct ConfigField {
  size_t entry;  // from 1
  std::string key;
  const nlohmann::json& value;

  std::string where() const { return "config_list entry " + std::to_string(entry) + ", " + key; }
  [[noreturn]] void fail(const std::string& allowed, const std::string& fix = "") const {
    throw HALFTONE_ERROR("config").at(where()).expected(allowed).found(value.dump()).fix(fix);
  }
};

}  // namespace halftone
