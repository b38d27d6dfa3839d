#include <algorithm>

#include "data/dataset.h"
#include "test/data/files.h"

namespace halftone {
namespace {

using Catch::Contains;

std::string load_error(const std::string& name, const DatasetOptions& options = {}) {
  return test::message_of([&] { load_dataset(Context(), name, Split::kTest, options); });
}

TEST_CASE("an unknown set: the list, and the nearest name") {
  CHECK_THAT(load_error("fashion_mnist"), Contains("expected one of mnist, fashion-mnist") &&
                                              Contains("did you mean fashion-mnist?"));
}

TEST_CASE("an option that a set does not take is refused") {
  DatasetOptions options;
  SECTION("a folder for a generated set") {
    options.data_dir = "/data";
    CHECK_THAT(load_error("generated-digits", options),
               Contains("generated-digits does not take the option 'data_dir'"));
  }
  SECTION("a seed for MNIST") {
    options.seed = 1;
    CHECK_THAT(load_error("mnist", options), Contains("does not take the option 'seed'"));
  }
  SECTION("a crop for MNIST") {
    options.crop = 20;
    CHECK_THAT(load_error("mnist", options), Contains("does not take the option 'crop'"));
  }
  SECTION("a negative limit") {
    options.limit = -1;
    CHECK_THAT(load_error("mnist", options), Contains("at least 0, found -1"));
  }
}

TEST_CASE("limit keeps the first samples") {
  const test::TemporaryFolder folder;
  folder.write("t10k-images-idx3-ubyte", test::idx_images(3, 28, 28));
  folder.write("t10k-labels-idx1-ubyte", test::idx_labels({4, 5, 6}));
  DatasetOptions options;
  options.data_dir = folder.path();
  options.limit = 2;
  const Dataset set = load_dataset(Context(), "mnist", Split::kTest, options);
  CHECK(set.images.shape() == Shape{2, 28, 28, 1});
  CHECK(set.labels == std::vector<int64_t>{4, 5});
  options.limit = 100;
  CHECK(load_dataset(Context(), "mnist", Split::kTest, options).size() == 3);
}

TEST_CASE("generated sets come by name, as many samples as asked for") {
  DatasetOptions options;
  options.limit = 30;
  const Dataset digits = load_dataset(Context(), "generated-digits", Split::kTest, options);
  CHECK(digits.images.shape() == Shape{30, 28, 28, 1});
  const Dataset colour = load_dataset(Context(), "generated-colour", Split::kTest, options);
  CHECK(colour.images.shape() == Shape{30, 32, 32, 3});
}

TEST_CASE("every set has a summary, and only generated ones need no files") {
  for (const std::string& name : dataset_names()) {
    CHECK(dataset_summary(name).size() > 10);
    CHECK(dataset_takes(name, "data_dir") != (name.rfind("generated-", 0) == 0));
  }
}

}  // namespace
}  // namespace halftone
