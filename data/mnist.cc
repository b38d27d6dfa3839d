#include "data/mnist.h"

#include <algorithm>

#include "data/file_bytes.h"
#include "data/idx.h"

namespace halftone {
namespace {

// kind: "images-idx3" or "labels-idx1".
std::string locate(const std::string& set, Split split, const std::string& data_dir,
                   const std::string& kind) {
  const std::string stem = (split == Split::kTrain ? "train-" : "t10k-") + kind + "-ubyte";
  std::string dotted = stem;
  dotted[dotted.find("-idx")] = '.';
  const std::vector<std::string> names = {stem, dotted, stem + ".gz", dotted + ".gz"};
  const std::vector<std::string> folders = data_folders(set, data_dir);
  const std::string path = find_file(folders, names);
  if (path.empty()) {
    throw HALFTONE_ERROR("load " + set)
        .expected(one_of(names) + " in " + one_of(folders))
        .found("none of them")
        .fix("fetch the files with: tools/get_data " + set +
             (data_dir.empty() ? "" : " " + data_dir));
  }
  return path;
}

void check_counts(const std::string& images_path, int64_t images, const std::string& labels_path,
                  int64_t labels) {
  if (images == labels && images > 0) return;
  throw HALFTONE_ERROR("load IDX pair")
      .at(labels_path)
      .expected("as many labels as " + images_path + " has images, " + std::to_string(images) +
                ", and at least one")
      .found(std::to_string(labels))
      .fix("use the two files of one split");
}

std::vector<int64_t> checked_labels(const std::string& path, const std::vector<uint8_t>& bytes,
                                    size_t classes) {
  const auto bad =
      std::find_if(bytes.begin(), bytes.end(), [&](uint8_t b) { return b >= classes; });
  if (bad != bytes.end()) {
    throw HALFTONE_ERROR("load IDX labels")
        .at(path)
        .expected("labels 0 to " + std::to_string(classes - 1))
        .found(std::to_string(*bad) + " at sample " + std::to_string(bad - bytes.begin()))
        .fix("the file is damaged or of another set; fetch it again");
  }
  return {bytes.begin(), bytes.end()};
}

// Fills images and labels of a set whose name, classes and statistics are known.
Dataset load_pair(const Context& context, Dataset set, const std::string& data_dir) {
  const std::string images_path = locate(set.name, set.split, data_dir, "images-idx3");
  const std::string labels_path = locate(set.name, set.split, data_dir, "labels-idx1");
  const IdxFile images = read_idx(images_path, 3);
  const IdxFile labels = read_idx(labels_path, 1);
  check_counts(images_path, images.dims[0], labels_path, labels.dims[0]);
  set.labels = checked_labels(labels_path, labels.values, set.classes.size());
  set.images =
      Tensor::empty(context, {images.dims[0], images.dims[1], images.dims[2], 1}, DType::kUInt8);
  std::copy(images.values.begin(), images.values.end(), set.images.data<uint8_t>());
  return set;
}

}  // namespace

Dataset load_mnist(const Context& context, Split split, const std::string& data_dir) {
  Dataset set;
  set.name = "mnist";
  set.split = split;
  set.classes = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
  set.mean = {0.1307f};  // the four digits that everybody uses
  set.stddev = {0.3081f};
  return load_pair(context, std::move(set), data_dir);
}

Dataset load_fashion_mnist(const Context& context, Split split, const std::string& data_dir) {
  Dataset set;
  set.name = "fashion-mnist";
  set.split = split;
  set.classes = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                 "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
  set.mean = {0.2860f};
  set.stddev = {0.3530f};
  return load_pair(context, std::move(set), data_dir);
}

}  // namespace halftone
