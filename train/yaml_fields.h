// Reading a YAML mapping strictly: every key is asked for, and what nobody asked for is an error.
#pragma once

#include <yaml-cpp/yaml.h>

#include <limits>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "train/key_lines.h"

namespace halftone {

// "recipe.yaml:12" of a node; "--set" for values that did not come from the file.
std::string yaml_location(const std::string& file, const YAML::Node& node);

// One mapping of the recipe. Read each known key with get(), then call finish(): keys that were
// never asked for throw with their line and the nearest known key.
class YamlFields {
 public:
  // `path` is the dotted place of the mapping in the recipe, "" for the root.
  // `everywhere` lists the dotted keys of all sections, for advice; null: none.
  using KeyList = std::vector<std::string> (*)();
  YamlFields(std::string file, std::string path, YAML::Node node, KeyList everywhere = nullptr);

  void get(const std::string& key, std::string& value);
  void get(const std::string& key, bool& value);
  void get(const std::string& key, double& value,
           double low = -std::numeric_limits<double>::infinity(),
           double high = std::numeric_limits<double>::infinity());
  void get(const std::string& key, int& value, int low = std::numeric_limits<int>::min(),
           int high = std::numeric_limits<int>::max());
  void get(const std::string& key, std::vector<int>& values, int low);
  // A nested mapping, empty when the key is absent.
  YamlFields map(const std::string& key);
  // The raw node, for what another folder parses; undefined when absent.
  YAML::Node raw(const std::string& key);
  bool has(const std::string& key) const;
  void finish() const;

  // Where the given keys stand.
  KeyLines lines() const;
  std::string location(const YAML::Node& node) const { return yaml_location(file_, node); }
  // Of a key's value; where that is missing its own mark is that of what follows.
  std::string location(const YAML::Node& key, const YAML::Node& value) const;
  // Error at the key's line: "train.batch_size: expected ..., found ...".
  Error error(const std::string& key, const std::string& expected) const;

 private:
  YAML::Node take(const std::string& key);
  std::string dotted(const std::string& key) const;
  std::string advice(const std::string& key) const;
  template <class T>
  bool read(const std::string& key, T& value, const char* kind);
  std::string file_, path_;
  YAML::Node node_;
  std::vector<std::string> known_;
  KeyList everywhere_;
};

}  // namespace halftone
