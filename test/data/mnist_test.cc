#include "data/mnist.h"

#include <zlib.h>

#include <cstdlib>
#include <filesystem>

#include "test/catch_skip.h"
#include "test/data/files.h"

namespace halftone {
namespace {

using Catch::Contains;

std::string load_error(const test::TemporaryFolder& folder) {
  return test::message_of([&] { load_mnist(Context(), Split::kTrain, folder.path()); });
}

TEST_CASE("MNIST pairs are found under each of their names") {
  const test::TemporaryFolder folder;
  SECTION("as published") {
    folder.write("train-images-idx3-ubyte", test::idx_images(2, 28, 28, 5));
    folder.write("train-labels-idx1-ubyte", test::idx_labels({3, 9}));
  }
  SECTION("with dots, packed, in a folder of the set's name") {
    folder.write("mnist/train-images.idx3-ubyte.gz", test::gzip(test::idx_images(2, 28, 28, 5)));
    folder.write("mnist/train-labels.idx1-ubyte.gz", test::gzip(test::idx_labels({3, 9})));
  }
  const Dataset set = load_mnist(Context(), Split::kTrain, folder.path());
  check_dataset(set);
  CHECK(set.images.shape() == Shape{2, 28, 28, 1});
  CHECK(set.images.data<uint8_t>()[1567] == 5);
  CHECK(set.labels == std::vector<int64_t>{3, 9});
}

TEST_CASE("a missing MNIST file: what was looked for, where, how to get it") {
  const test::TemporaryFolder folder;
  const std::string error = load_error(folder);
  CHECK_THAT(error, Contains("train-images-idx3-ubyte, train-images.idx3-ubyte, "
                             "train-images-idx3-ubyte.gz or train-images.idx3-ubyte.gz"));
  CHECK_THAT(error, Contains(folder.path() + " or " + folder.path() + "/mnist"));
  CHECK_THAT(error, Contains("tools/get_data mnist " + folder.path()));
}

TEST_CASE("MNIST pairs that do not fit") {
  const test::TemporaryFolder folder;
  folder.write("train-images-idx3-ubyte", test::idx_images(3, 28, 28));
  SECTION("other counts") {
    folder.write("train-labels-idx1-ubyte", test::idx_labels({3, 9}));
    CHECK_THAT(load_error(folder), Contains("train-labels-idx1-ubyte") &&
                                       Contains("train-images-idx3-ubyte has images, 3") &&
                                       Contains("found 2"));
  }
  SECTION("a label out of range") {
    folder.write("train-labels-idx1-ubyte", test::idx_labels({3, 10, 9}));
    CHECK_THAT(load_error(folder), Contains("expected labels 0 to 9, found 10 at sample 1"));
  }
}

TEST_CASE("Fashion-MNIST has its own names") {
  const test::TemporaryFolder folder;
  folder.write("t10k-images-idx3-ubyte", test::idx_images(1, 28, 28));
  folder.write("t10k-labels-idx1-ubyte", test::idx_labels({9}));
  const Dataset set = load_fashion_mnist(Context(), Split::kTest, folder.path());
  CHECK(set.classes[static_cast<size_t>(set.labels[0])] == "Ankle boot");
}

TEST_CASE("the real MNIST") {
  if (!std::getenv("HALFTONE_DATA")) HALFTONE_SKIP("HALFTONE_DATA is not set");
  const std::string folder = std::getenv("HALFTONE_DATA");
  if (!std::filesystem::exists(folder + "/mnist")) HALFTONE_SKIP("no mnist in HALFTONE_DATA");
  const Dataset train = load_mnist(Context(), Split::kTrain, folder);
  const Dataset test = load_mnist(Context(), Split::kTest, folder);
  CHECK(train.images.shape() == Shape{60000, 28, 28, 1});
  CHECK(test.images.shape() == Shape{10000, 28, 28, 1});
  CHECK(std::vector<int64_t>(train.labels.begin(), train.labels.begin() + 5) ==
        std::vector<int64_t>{5, 0, 4, 1, 9});
  // CRC-32 of the first image, a 5, and of all test images.
  CHECK(crc32(0, train.images.data<uint8_t>(), 784) == 0x90a92752u);
  CHECK(crc32(0, test.images.data<uint8_t>(), 7840000) == 0xe4ca5f57u);
}

}  // namespace
}  // namespace halftone
