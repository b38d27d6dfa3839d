// Where the keys of one section of a recipe stand, for messages.
#pragma once

#include <map>
#include <string>

namespace halftone {

struct KeyLines {
  std::string section;                      // "recipe.yaml:12"; "" for a section made in C++
  std::map<std::string, std::string> keys;  // of those that are given
  std::string at(const std::string& key) const {
    const auto found = keys.find(key);
    return found == keys.end() ? section : found->second;
  }
};

}  // namespace halftone
