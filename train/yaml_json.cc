#include "train/yaml_json.h"

#include "tensor/error.h"
#include "train/yaml_fields.h"

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

nlohmann::json convert(const YAML::Node& node, const std::string& file, int depth) {
  if (depth > 32) {  // an alias may hold itself
    throw HALFTONE_ERROR("recipe")
        .at(file)
        .expected("at most 32 levels of lists and mappings")
        .found("more");
  }
  if (node.IsSequence()) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& item : node) list.push_back(convert(item, file, depth + 1));
    return list;
  }
  if (node.IsMap()) {
    nlohmann::json map = nlohmann::json::object();
    for (const auto& item : node) {
      const std::string& key = item.first.Scalar();
      if (map.contains(key)) {
        throw HALFTONE_ERROR("config_list")
            .at(yaml_location(file, item.first))
            .expected("each key once")
            .found(key + " again");
      }
      map[key] = convert(item.second, file, depth + 1);
    }
    return map;
  }
  return node.IsScalar() ? scalar_to_json(node) : nlohmann::json();
}

}  // namespace

nlohmann::json yaml_to_json(const YAML::Node& node, const std::string& file) {
  return convert(node, file, 0);
}

}  // namespace halftone
