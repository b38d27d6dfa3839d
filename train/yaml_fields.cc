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

// With what a list holds, one level deep: an alias may hold itself.
std::string shown(const YAML::Node& node) {
  if (!node.IsSequence()) return text_of(node);
  std::string list;
  for (const auto& item : node) {
    if (list.size() > 60) return "[" + list + ", ...]";
    list += (list.empty() ? "" : ", ") + text_of(item);
  }
  return "[" + list + "]";
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
  if (mark.pos > 0) return fmt::format("{}:{}", file, mark.line + 1);
  return file == "--set" ? file : file + " (--set)";
}

YamlFields::YamlFields(std::string file, std::string path, YAML::Node node, KeyList everywhere)
    : file_(std::move(file)),
      path_(std::move(path)),
      node_(std::move(node)),
      everywhere_(everywhere) {
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
    lines.keys[item.first.Scalar()] = location(item.first, item.second);
  return lines;
}

std::string YamlFields::location(const YAML::Node& key, const YAML::Node& value) const {
  const bool follows = value.IsNull() && value.Mark().pos > 0;
  return follows ? fmt::format("{}:{}", file_, key.Mark().line + 1) : yaml_location(file_, value);
}

YAML::Node YamlFields::take(const std::string& key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  if (!has(key)) return YAML::Node(YAML::NodeType::Undefined);
  if (node_[key].IsNull()) throw error(key, "a value").fix("take the key out for its default");
  return node_[key];
}

Error YamlFields::error(const std::string& key, const std::string& expected) const {
  Error e = HALFTONE_ERROR(dotted(key));
  if (!has(key)) return e.at(lines().section).expected(expected).found("no such key");
  const YAML::Node value = node_[key];
  return e.at(lines().at(key)).expected(expected).found(shown(value));
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

void YamlFields::get(const std::string& key, std::vector<int>& values, int low) {
  const YAML::Node node = take(key);
  if (!node.IsDefined()) return;
  bool good = node.IsSequence();
  values.clear();
  for (size_t i = 0; good && i < node.size(); ++i) {
    int value = 0;
    good = YAML::convert<int>::decode(node[i], value) && value >= low;
    values.push_back(value);
  }
  if (!good) throw error(key, fmt::format("a list of integers of at least {}", low));
}

YamlFields YamlFields::map(const std::string& key) {
  return YamlFields(file_, dotted(key), take(key), everywhere_);
}

YAML::Node YamlFields::raw(const std::string& key) { return take(key); }

// What to do about an unknown key: one of that name in another section, one alike beside it, one
// alike in another section.
std::string YamlFields::advice(const std::string& key) const {
  if (key.find('.') != std::string::npos)
    return "write it into its section, as in optimizer: {lr: 0.1}; with dots it is for --set";
  const bool rate = key == "learning_rate" || key == "learningrate";  // as many call it
  const std::string name = rate ? "lr" : key;
  std::vector<std::string> all, names;
  if (everywhere_ != nullptr) all = everywhere_();
  for (const std::string& k : all) names.push_back(k.substr(k.rfind('.') + 1));
  if (std::find(all.begin(), all.end(), dotted(key)) != all.end())
    return "remove it: the name that is chosen beside it does not take it";
  const bool here = std::find(known_.begin(), known_.end(), name) != known_.end();
  const bool there = std::find(names.begin(), names.end(), name) != names.end();
  const std::string near = here ? name : there ? "" : nearest_name(name, known_);
  if (!near.empty()) return "did you mean '" + near + "'?";
  const std::string far = there ? name : nearest_name(name, names);
  if (far.empty()) return "remove it";
  const std::string place = all[std::find(names.begin(), names.end(), far) - names.begin()];
  return "did you mean '" + place + "'" + (place == far ? " at the top level?" : "?");
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
    throw HALFTONE_ERROR(dotted(key))
        .at(item.second.Mark().pos > 0 ? fmt::format("{}:{}", file_, item.first.Mark().line + 1)
                                       : yaml_location(file_, item.second))
        .what_happened("unknown key")
        .expected(fmt::format("one of {}", fmt::join(known_, ", ")))
        .found("'" + key + "'")
        .fix(advice(key));
  }
}

}  // namespace halftone
