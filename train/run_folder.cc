#include "train/run_folder.h"

#include <unistd.h>

#include <filesystem>

#include "tensor/error.h"

namespace halftone {

namespace fs = std::filesystem;

std::string new_run_folder(const std::string& op, const std::string& out,
                           const std::string& prefix) {
  std::string folder = out;
  for (int i = 1; folder.empty(); ++i) {
    const std::string path = prefix + "-" + std::to_string(i);
    if (!fs::exists(path)) folder = path;
  }
  if (!fs::exists(folder) || (fs::is_directory(folder) && fs::is_empty(folder))) return folder;
  throw HALFTONE_ERROR(op)
      .at(folder)
      .expected("a new or empty folder")
      .found("something that is there already")
      .fix("choose another --out");
}

std::string claim_run_folder(const std::string& op, const std::string& prefix) {
  std::error_code error;
  const fs::path parent = fs::path(prefix).parent_path();
  if (!parent.empty()) fs::create_directories(parent, error);
  for (int i = 1; !error; ++i) {
    const std::string path = prefix + "-" + std::to_string(i);
    if (fs::create_directory(path, error)) return path;
  }
  throw HALFTONE_ERROR(op)
      .at(prefix)
      .expected("a folder that can be made")
      .found(error.message())
      .fix("choose another --out");
}

ClaimedFolder::~ClaimedFolder() {
  std::error_code has_files;
  if (!path_.empty()) fs::remove(path_, has_files);
}

std::string recipe_beside(const std::string& checkpoint) {
  const std::string recipe = (fs::path(checkpoint).parent_path() / "recipe.yaml").string();
  return fs::exists(recipe) ? recipe : checkpoint;
}

void write_run_folder(const std::string& op, const std::string& out,
                      const std::function<void(const std::string& folder)>& fill) {
  const fs::path whole = fs::path(out).lexically_normal();
  const std::string part = (whole.has_filename() ? whole : whole.parent_path()).string() + ".tmp-" +
                           std::to_string(getpid());
  std::error_code error;
  fs::create_directories(part, error);
  if (error)
    throw HALFTONE_ERROR(op).at(out).expected("a folder that can be made").found(error.message());
  try {
    fill(part);
    fs::rename(part, out, error);
    if (error) {
      throw HALFTONE_ERROR(op)
          .at(out)
          .expected("a folder that can be written")
          .found(error.message())
          .fix("choose another --out");
    }
  } catch (...) {
    fs::remove_all(part, error);
    throw;
  }
}

}  // namespace halftone
