#include "train/yaml_json.h"

namespace halftone {
namespace {

nlohmann::json scalar_to_json(const YAML::Node& node) {
  if (node.Tag() == "!") return node.Scalar();  // quoted
  long long integer = 0;
  double number = 0;
  bool truth = false;
  if (YAML::convert<long long>::decode(node, integer)) return integer;
  if (YAML::convert<double>::decode(node, number)) return number;
  if (YAML::convert<bool>::decode(node, truth)) return truth;
  return node.Scalar();
}

}  // namespace

nlohmann::json yaml_to_json(const YAML::Node& node) {
  if (node.IsSequence()) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& item : node) list.push_back(yaml_to_json(item));
    return list;
  }
  if (node.IsMap()) {
    nlohmann::json map = nlohmann::json::object();
    for (const auto& item : node) map[item.first.Scalar()] = yaml_to_json(item.second);
    return map;
  }
  return node.IsScalar() ? scalar_to_json(node) : nlohmann::json();
}

}  // namespace halftone
