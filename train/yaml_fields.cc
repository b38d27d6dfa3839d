#include "train/yaml_fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "tensor/nearest.h"

namespace halftone {
namespace {

std::string text_of(const YAML::Node& node) {
  if (node.IsScalar()) return "'" + node.Scalar() + "'";
  if (node.IsSequence()) return "a list";
  if (node.IsMap()) return "a mapping";
  return "nothing";
}

template <class T>
std::string range_text(const char* kind, T low, T high) {
  const bool below = low > std::numeric_limits<T>::lowest() && std::abs(double(low)) < 1e300;
  const bool above = high < std::numeric_limits<T>::max() && std::abs(double(high)) < 1e300;
  if (below && above) return fmt::format("{} from {} to {}", kind, low, high);
  if (below) return fmt::format("{} of at least {}", kind, low);
  if (above) return fmt::format("{} of at most {}", kind, high);
  return kind;
}

}  // namespace

std::string yaml_location(const std::string& file, const YAML::Node& node) {
  const YAML::Mark mark = node.Mark();
  // No value can stand at the very beginning of a file: a key or a bracket comes first. Cloned
  // nodes do.
  return mark.pos <= 0 ? file + " (--set)" : fmt::format("{}:{}", file, mark.line + 1);
}

YamlFields::YamlFields(std::string file, std::string path, YAML::Node node)
    : file_(std::move(file)),
      path_(std::move(path)),
      node_(std::move(node)),
      all_known_(std::make_shared<std::vector<std::string>>()) {
  if (node_.IsDefined() && !node_.IsMap()) {
    throw HALFTONE_ERROR(path_.empty() ? "recipe" : path_)
        .at(path_.empty() ? file_ : yaml_location(file_, node_))
        .expected("a mapping of keys to values")
        .found(text_of(node_));
  }
}

std::string YamlFields::dotted(const std::string& key) const {
  return path_.empty() ? key : path_ + "." + key;
}

bool YamlFields::has(const std::string& key) const {
  return node_.IsMap() && node_[key].IsDefined();
}

KeyLines YamlFields::lines() const {
  KeyLines lines;
  const bool whole = path_.empty() || !node_.IsDefined();
  lines.section = whole ? file_ : yaml_location(file_, node_);
  if (!node_.IsMap()) return lines;
  for (const auto& item : node_)
    lines.keys[item.first.Scalar()] = yaml_location(file_, item.second);
  return lines;
}

YAML::Node YamlFields::take(const std::string& key) {
  known_.push_back(key);
  all_known_->push_back(dotted(key));
  if (!has(key)) return YAML::Node(YAML::NodeType::Undefined);
  if (node_[key].IsNull()) throw error(key, "a value").fix("take the key out for its default");
  return node_[key];
}

Error YamlFields::error(const std::string& key, const std::string& expected) const {
  const YAML::Node value = node_[key];
  std::string place = yaml_location(file_, value);
  for (const auto& item : node_) {  // a missing value's own mark is that of what follows
    if (value.IsNull() && value.Mark().pos > 0 && item.first.Scalar() == key)
      place = yaml_location(file_, item.first);
  }
  Error e = HALFTONE_ERROR(dotted(key));
  return e.at(place).expected(expected).found(text_of(value));
}

template <class T>
bool YamlFields::read(const std::string& key, T& value, const char* kind) {
  const YAML::Node node = take(key);
  if (!node.IsDefined()) return false;
  if (!node.IsScalar() || !YAML::convert<T>::decode(node, value)) throw error(key, kind);
  return true;
}

void YamlFields::get(const std::string& key, std::string& value) { read(key, value, "a text"); }
void YamlFields::get(const std::string& key, bool& value) { read(key, value, "true or false"); }

void YamlFields::get(const std::string& key, double& value, double low, double high) {
  if (read(key, value, "a number") && !(value >= low && value <= high)) {
    throw error(key, range_text("a number", low, high));
  }
}

void YamlFields::get(const std::string& key, int& value, int low, int high) {
  if (read(key, value, "an integer") && !(value >= low && value <= high)) {
    throw error(key, range_text("an integer", low, high));
  }
}

void YamlFields::get(const std::string& key, std::vector<int>& values) {
  const YAML::Node node = take(key);
  if (!node.IsDefined()) return;
  bool good = node.IsSequence();
  values.clear();
  for (size_t i = 0; good && i < node.size(); ++i) {
    int value = 0;
    good = YAML::convert<int>::decode(node[i], value);
    values.push_back(value);
  }
  if (!good) throw error(key, "a list of integers");
}

YamlFields YamlFields::map(const std::string& key) {
  YamlFields fields(file_, dotted(key), take(key));
  fields.all_known_ = all_known_;
  return fields;
}

YAML::Node YamlFields::raw(const std::string& key) { return take(key); }

// A key beside it, or one of that name in another section.
std::string YamlFields::nearest(const std::string& key) const {
  const std::string name = key == "learning_rate" ? "lr" : key;  // as many call it
  const std::string near = nearest_name(name, known_);
  if (!near.empty()) return near;
  std::vector<std::string> names;
  for (const std::string& k : *all_known_) names.push_back(k.substr(k.rfind('.') + 1));
  const std::string elsewhere = nearest_name(name, names);
  if (elsewhere.empty()) return "";
  return (*all_known_)[std::find(names.begin(), names.end(), elsewhere) - names.begin()];
}

void YamlFields::finish() const {
  if (!node_.IsMap()) return;
  std::set<std::string> seen;
  for (const auto& item : node_) {
    const std::string key = item.first.Scalar();
    if (!seen.insert(key).second) {
      throw HALFTONE_ERROR(dotted(key))
          .at(yaml_location(file_, item.second))
          .expected("each key once")
          .found("'" + key + "' a second time");
    }
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    const std::string near = nearest(key);
    throw HALFTONE_ERROR(dotted(key))
        .at(item.second.Mark().pos > 0 ? fmt::format("{}:{}", file_, item.first.Mark().line + 1)
                                       : yaml_location(file_, item.second))
        .what_happened("unknown key")
        .expected(fmt::format("one of {}", fmt::join(known_, ", ")))
        .found("'" + key + "'")
        .fix(near.empty() ? "remove it" : "did you mean '" + near + "'?");
  }
}

}  // namespace halftone
