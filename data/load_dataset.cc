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
  std::vector<std::string> options;  // that it takes, beside `limit`
  std::function<Dataset(const Context&, Split, const DatasetOptions&)> load;
};

const std::vector<Entry>& entries() {
  static const std::vector<Entry> list = {
      {"mnist",
       "handwritten digits, 28x28 grey, 60,000 / 10,000 (IDX files)",
       {"data_dir"},
       [](const Context& c, Split s, const DatasetOptions& o) {
         return load_mnist(c, s, o.data_dir);
       }},
      {"fashion-mnist",
       "clothes, 28x28 grey, 60,000 / 10,000 (IDX files)",
       {"data_dir"},
       [](const Context& c, Split s, const DatasetOptions& o) {
         return load_fashion_mnist(c, s, o.data_dir);
       }},
      {"cifar10",
       "photographs of ten classes, 32x32 colour, 50,000 / 10,000 (binary files)",
       {"data_dir"},
       [](const Context& c, Split s, const DatasetOptions& o) {
         return load_cifar10(c, s, o.data_dir);
       }},
      {"cifar100",
       "photographs of 100 classes (coarse_labels: 20), 32x32 colour, 50,000 / 10,000",
       {"data_dir", "coarse_labels"},
       [](const Context& c, Split s, const DatasetOptions& o) {
         return load_cifar100(c, s, o.data_dir, o.coarse_labels);
       }},
      {"image-folder",
       "JPEG and PNG files in DIR/train/CLASS/ and DIR/test/CLASS/",
       {"data_dir", "resize", "crop"},
       load_image_folder},
      {"generated-colour",
       "shapes of ten kinds, 32x32 colour, 50,000 / 10,000 (no files)",
       {"seed"},
       make_generated_colour},
      {"generated-digits",
       "stroke models of the digits, 28x28 grey, 60,000 / 10,000 (no files)",
       {"seed"},
       make_generated_digits},
  };
  return list;
}

const Entry& entry(const std::string& name) {
  for (const Entry& e : entries()) {
    if (name == e.name) return e;
  }
  throw_unknown_name("load data set", name, dataset_names());
}

bool takes(const Entry& e, const std::string& option) {
  return std::find(e.options.begin(), e.options.end(), option) != e.options.end();
}

void refuse(const Entry& e, bool given, const std::string& option) {
  if (!given || takes(e, option)) return;
  throw HALFTONE_ERROR("load data set")
      .at(e.name)
      .what_happened(std::string(e.name) + " does not take the option '" + option + "'")
      .fix("remove it");
}

void check_options(const Entry& e, const DatasetOptions& o) {
  refuse(e, !o.data_dir.empty(), "data_dir");
  refuse(e, o.seed != 0, "seed");
  refuse(e, o.coarse_labels, "coarse_labels");
  refuse(e, o.resize != 0, "resize");
  refuse(e, o.crop != 0, "crop");
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
bool dataset_takes(const std::string& name, const std::string& option) {
  return takes(entry(name), option);
}

Dataset load_dataset(const Context& context, const std::string& name, Split split,
                     const DatasetOptions& options) {
  const Entry& e = entry(name);
  check_options(e, options);
  Dataset set = first_samples(e.load(context, split, options), options.limit);
  check_dataset(set);
  return set;
}

}  // namespace halftone
