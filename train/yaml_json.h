// YAML values as JSON and back.
#pragma once

#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>

namespace halftone {

// Scalars become null, bool, integer or number where YAML's core schema says so, and strings
// otherwise or when quoted.
nlohmann::json yaml_to_json(const YAML::Node& node, const std::string& file);

}  // namespace halftone
