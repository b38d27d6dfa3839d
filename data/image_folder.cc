#include "data/image_folder.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <mutex>

#include "data/file_bytes.h"
#include "data/image.h"
#include "data/resize.h"
#include "kernels/parallel.h"
#include "tensor/nearest.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

struct Listing {
  std::vector<std::string> classes;
  std::vector<std::string> paths;
  std::vector<int64_t> labels;
};

// The folder of a split: data_dir/train, or data_dir/test or data_dir/val.
std::string split_folder(Split split, const std::string& data_dir) {
  std::vector<std::string> names = {"train"};
  if (split == Split::kTest) names = {"test", "val"};
  std::vector<std::string> folders;
  for (const std::string& name : names) {
    folders.push_back((fs::path(data_dir) / name).string());
    if (fs::is_directory(folders.back())) return folders.back();
  }
  throw HALFTONE_ERROR("load image-folder")
      .expected("a folder " + one_of(folders))
      .found("none")
      .fix("give data.dir (or --data) the folder that holds train/CLASS/... and test/CLASS/...");
}

std::vector<std::string> sorted_classes(const std::string& folder) {
  std::vector<std::string> classes;
  for (const auto& item : fs::directory_iterator(folder)) {
    if (item.is_directory()) classes.push_back(item.path().filename().string());
  }
  if (classes.empty()) {
    throw HALFTONE_ERROR("load image-folder")
        .at(folder)
        .expected("one sub-folder per class")
        .found("no sub-folder");
  }
  std::sort(classes.begin(), classes.end());
  return classes;
}

// torchvision's order: folders by path, and the files of each by name.
std::vector<std::string> sorted_images(const fs::path& folder) {
  std::vector<std::pair<std::string, std::string>> found;
  const auto follow = fs::directory_options::follow_directory_symlink;
  for (const auto& item : fs::recursive_directory_iterator(folder, follow)) {
    const fs::path& path = item.path();
    if (item.is_regular_file() && is_image_name(path.string())) {
      found.emplace_back(path.parent_path().string(), path.filename().string());
    }
  }
  if (found.empty()) {
    throw HALFTONE_ERROR("load image-folder")
        .at(folder.string())
        .expected("at least one .jpg, .jpeg or .png file")
        .found("none")
        .fix("remove the folder, or put pictures of the class into it");
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> paths;
  for (const auto& [parent, name] : found) paths.push_back((fs::path(parent) / name).string());
  return paths;
}

int64_t label_in(const std::vector<std::string>& classes, const std::string& train,
                 const std::string& folder, const std::string& name) {
  const auto found = std::lower_bound(classes.begin(), classes.end(), name);
  if (found != classes.end() && *found == name) return found - classes.begin();
  throw HALFTONE_ERROR("load image-folder")
      .at((fs::path(folder) / name).string())
      .expected("a class of " + train + ": " + short_list(classes))
      .found("'" + name + "'" + did_you_mean(name, classes))
      .fix("labels are the training split's: rename or remove the folder, or add it there");
}

// The pictures of a split, labelled by the classes of the training split.
Listing list_images(Split split, const std::string& data_dir) {
  const std::string train = split_folder(Split::kTrain, data_dir);
  const std::string folder = split_folder(split, data_dir);
  Listing list;
  list.classes = sorted_classes(train);
  for (const std::string& name : sorted_classes(folder)) {
    const int64_t label = label_in(list.classes, train, folder, name);
    const std::vector<std::string> paths = sorted_images(fs::path(folder) / name);
    list.paths.insert(list.paths.end(), paths.begin(), paths.end());
    list.labels.resize(list.paths.size(), label);
  }
  return list;
}

// The same, with the project's error for folders that cannot be read.
Listing listed(Split split, const std::string& data_dir) {
  try {
    return list_images(split, data_dir);
  } catch (const fs::filesystem_error& e) {
    throw HALFTONE_ERROR("load image-folder")
        .at(e.path1().string())
        .expected("a folder that can be read")
        .found(e.code().message());
  }
}

// `limit` of the samples, evenly spread over the list (0: all of them).
void thin_out(Listing& list, int64_t limit) {
  const int64_t n = static_cast<int64_t>(list.paths.size());
  if (limit <= 0 || limit >= n) return;
  for (int64_t i = 0; i < limit; ++i) {
    const size_t to = static_cast<size_t>(i), from = static_cast<size_t>(i * n / limit);
    if (from != to) list.paths[to] = std::move(list.paths[from]);
    list.labels[to] = list.labels[from];
  }
  list.paths.resize(static_cast<size_t>(limit));
  list.labels.resize(static_cast<size_t>(limit));
}

Image prepared_image(const std::string& path, const DatasetOptions& options) {
  Image image = read_image(path);
  if (options.resize > 0) image = resize_shorter_side(image, options.resize);
  if (options.crop > 0) image = centre_crop(image, options.crop);
  return image;
}

std::string size_of(int64_t height, int64_t width) {
  return std::to_string(height) + " x " + std::to_string(width);
}

// Decodes paths[i] into row i of images, whose size the first image set.
void decode_into(const std::string& path, const std::string& first_path,
                 const DatasetOptions& options, Tensor& images, int64_t row) {
  const Image image = prepared_image(path, options);
  if (image.height != images.dim(1) || image.width != images.dim(2)) {
    throw HALFTONE_ERROR("load image-folder")
        .at(path)
        .expected("the size of " + first_path + ", " + size_of(images.dim(1), images.dim(2)))
        .found(size_of(image.height, image.width))
        .fix("set crop (and resize) to bring all pictures to one size");
  }
  const int64_t bytes = static_cast<int64_t>(image.pixels.size());
  std::copy(image.pixels.begin(), image.pixels.end(), images.data<uint8_t>() + row * bytes);
}

// Runs job(i) for i in [0, n) on the context's threads; rethrows the failure of the smallest i, so
// that the message does not depend on the thread count.
template <class Job>
void run_all(const Context& context, int64_t n, Job job) {
  std::mutex mutex;
  int64_t failed_at = n;
  std::exception_ptr failure;
  parallel_for(context, n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      try {
        job(i);
      } catch (...) {
        std::lock_guard<std::mutex> lock(mutex);
        if (i < failed_at) {
          failed_at = i;
          failure = std::current_exception();
        }
        return;
      }
    }
  });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

Dataset load_image_folder(const Context& context, Split split, const DatasetOptions& options) {
  if (options.data_dir.empty()) {
    throw HALFTONE_ERROR("load image-folder").expected("data_dir").found("none");
  }
  Listing list = listed(split, options.data_dir);
  thin_out(list, options.limit);
  Dataset set;
  set.name = "image-folder";
  set.split = split;
  set.classes = std::move(list.classes);
  set.labels = std::move(list.labels);
  set.mean = {0.485f, 0.456f, 0.406f};
  set.stddev = {0.229f, 0.224f, 0.225f};
  const Image first = prepared_image(list.paths[0], options);
  set.images = Tensor::empty(context, {set.size(), first.height, first.width, 3}, DType::kUInt8);
  run_all(context, set.size(), [&](int64_t i) {
    decode_into(list.paths[static_cast<size_t>(i)], list.paths[0], options, set.images, i);
  });
  return set;
}

}  // namespace halftone
