// A run folder that appears whole or not at all.
#pragma once

#include <functional>
#include <string>
#include <utility>

namespace halftone {

// `out`, which must be new or empty; without one "PREFIX-1", -2, ... . Throws Error in the name of
// the command `op`.
std::string new_run_folder(const std::string& op, const std::string& out,
                           const std::string& prefix);

// Makes "PREFIX-1", or the first number that is free, so that no other run takes it.
std::string claim_run_folder(const std::string& op, const std::string& prefix);

// A claimed folder that stays empty, because the run could not begin, goes with the object. "":
// none.
class ClaimedFolder {
 public:
  explicit ClaimedFolder(std::string path) : path_(std::move(path)) {}
  ~ClaimedFolder();
  ClaimedFolder(const ClaimedFolder&) = delete;
  ClaimedFolder& operator=(const ClaimedFolder&) = delete;

 private:
  const std::string path_;
};

// Whose lines messages about a checkpoint's recipe name: the recipe.yaml beside it, the same text;
// the checkpoint itself where that is gone.
std::string recipe_beside(const std::string& checkpoint);

// `fill` writes into a folder beside `out`, which takes its place; where it throws, nothing is
// left.
void write_run_folder(const std::string& op, const std::string& out,
                      const std::function<void(const std::string& folder)>& fill);

}  // namespace halftone
