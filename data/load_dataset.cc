// The list of data sets by name.
#include <algorithm>
#include <functional>

#include "data/cifar.h"
#include "data/dataset.h"
#include "data/generated_colour.h"
#include "data/generated_digits.h"
#include "data/image_folder.h"
#include "data/mnist.h"
#include "tensor/nearest.h"

namespace halftone {
namespace {

struct Entry {
  const char* name;
  const char* summary;
  // Which options it takes; `limit` is taken by all.
  bool takes_data_dir, takes_seed, takes_coarse, takes_sizes;
  std::function<Dataset(const Context&, Split, const DatasetOptions&)> load;
};

const std::vector<Entry>& entries() {
  static const std::vector<Entry> list = {
      {"mnist", "handwritten digits, 28x28 grey, 60,000 / 10,000 (IDX files)", true, false, false,
       false,
       [](const Context& c, Split s, const DatasetOptions& o) {
         return load_mnist(c, s, o.data_dir);
       }},
      {"fashion-mnist", "clothes, 28x28 grey, 60,000 / 10,000 (IDX files)", true, false, false,
       false,
       [](const Context& c, Split s, const DatasetOptions& o) {
         return load_fashion_mnist(c, s, o.data_dir);
       }},
      {"cifar10", "photographs of ten classes, 32x32 colour, 50,000 / 10,000 (binary files)", true,
       false, false, false,
       [](const Context& c, Split s, const DatasetOptions& o) {
         return load_cifar10(c, s, o.data_dir);
       }},
      {"cifar100", "photographs of 100 classes (coarse_labels: 20), 32x32 colour, 50,000 / 10,000",
       true, false, true, false,
       [](const Context& c, Split s, const DatasetOptions& o) {
         return load_cifar100(c, s, o.data_dir, o.coarse_labels);
       }},
      {"image-folder", "JPEG and PNG files in DIR/train/CLASS/ and DIR/test/CLASS/", true, false,
       false, true, load_image_folder},
      {"generated-colour", "shapes of ten kinds, 32x32 colour, 50,000 / 10,000 (no files)", false,
       true, false, false, make_generated_colour},
      {"generated-digits", "stroke models of the digits, 28x28 grey, 60,000 / 10,000 (no files)",
       false, true, false, false, make_generated_digits},
  };
  return list;
}

const Entry& entry(const std::string& name) {
  for (const Entry& e : entries()) {
    if (name == e.name) return e;
  }
  throw_unknown_name("load data set", name, dataset_names());
}

void refuse(const Entry& e, bool given, bool taken, const std::string& option) {
  if (!given || taken) return;
  throw HALFTONE_ERROR("load data set")
      .at(e.name)
      .what_happened(std::string(e.name) + " does not take the option '" + option + "'")
      .fix("remove it");
}

void check_options(const Entry& e, const DatasetOptions& o) {
  refuse(e, !o.data_dir.empty(), e.takes_data_dir, "data_dir");
  refuse(e, o.seed != 0, e.takes_seed, "seed");
  refuse(e, o.coarse_labels, e.takes_coarse, "coarse_labels");
  refuse(e, o.resize != 0, e.takes_sizes, "resize");
  refuse(e, o.crop != 0, e.takes_sizes, "crop");
  if (o.limit < 0 || o.resize < 0 || o.crop < 0) {
    throw HALFTONE_ERROR("load data set")
        .at(e.name)
        .expected("limit, resize and crop of at least 0")
        .found(std::to_string(std::min({o.limit, o.resize, o.crop})));
  }
}

}  // namespace

std::vector<std::string> dataset_names() {
  std::vector<std::string> names;
  for (const Entry& e : entries()) names.push_back(e.name);
  return names;
}

std::string dataset_summary(const std::string& name) { return entry(name).summary; }
bool is_generated(const std::string& name) { return !entry(name).takes_data_dir; }

Dataset load_dataset(const Context& context, const std::string& name, Split split,
                     const DatasetOptions& options) {
  const Entry& e = entry(name);
  check_options(e, options);
  Dataset set = first_samples(e.load(context, split, options), options.limit);
  check_dataset(set);
  return set;
}

}  // namespace halftone
