#include "data/cifar.h"

#include <set>

#include "data/cifar_names.h"
#include "test/data/files.h"

namespace halftone {
namespace {

using Catch::Contains;
using test::Bytes;

// Labels, then 3 planes: byte = 7 * plane + pixel, modulo 256.
Bytes record(const Bytes& labels) {
  Bytes bytes = labels;
  for (int plane = 0; plane < 3; ++plane) {
    for (int i = 0; i < 1024; ++i) bytes.push_back(static_cast<uint8_t>(7 * plane + i));
  }
  return bytes;
}

Bytes records(const std::vector<Bytes>& labels) {
  Bytes bytes;
  for (const Bytes& l : labels) {
    const Bytes one = record(l);
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  return bytes;
}

// A whole file, packed: these records, then black pictures of class 0.
Bytes packed_file(const std::vector<Bytes>& labels, size_t count = 10000) {
  Bytes bytes = records(labels);
  bytes.resize((bytes.size() / labels.size()) * count);
  return test::gzip(bytes);
}

std::string load_error(const test::TemporaryFolder& folder, Split split) {
  return test::message_of([&] { load_cifar10(Context(), split, folder.path()); });
}

TEST_CASE("CIFAR-10 batches follow one another, pixels interleaved") {
  const test::TemporaryFolder folder;
  const std::string where = GENERATE("", "cifar10/cifar-10-batches-bin/");
  for (uint8_t i = 1; i <= 5; ++i) {
    folder.write(where + "data_batch_" + std::to_string(i) + ".bin.gz", packed_file({{i}, {9}}));
  }
  const Dataset set = load_cifar10(Context(), Split::kTrain, folder.path());
  check_dataset(set);
  CHECK(set.images.shape() == Shape{50000, 32, 32, 3});
  for (size_t i = 0; i < 5; ++i) {
    CHECK(set.labels[10000 * i] == static_cast<int64_t>(i) + 1);
    CHECK(set.labels[10000 * i + 1] == 9);
    CHECK(set.labels[10000 * i + 2] == 0);
  }
  const uint8_t* last = set.images.data<uint8_t>() + 40001 * 3072;
  for (int i : {0, 1, 1023}) {
    for (int c = 0; c < 3; ++c) CHECK(last[3 * i + c] == static_cast<uint8_t>(7 * c + i));
  }
}

TEST_CASE("CIFAR-100 has fine and coarse labels") {
  const test::TemporaryFolder folder;
  folder.write("cifar-100-binary/test.bin.gz", packed_file({{19, 99}, {0, 4}}));
  const Dataset fine = load_cifar100(Context(), Split::kTest, folder.path(), false);
  CHECK(fine.size() == 10000);
  CHECK(fine.labels[0] == 99);
  CHECK(fine.labels[1] == 4);
  CHECK(fine.images.data<uint8_t>()[3] == 1);
  const Dataset coarse = load_cifar100(Context(), Split::kTest, folder.path(), true);
  CHECK(coarse.labels[0] == 19);
  CHECK(coarse.labels[1] == 0);
}

TEST_CASE("CIFAR-100's train.bin has 50,000 records") {
  const test::TemporaryFolder folder;
  folder.write("train.bin.gz", packed_file({{19, 99}}, 50000));
  CHECK(load_cifar100(Context(), Split::kTrain, folder.path(), false).size() == 50000);
  folder.write("train.bin.gz", packed_file({{19, 99}}, 10000));
  CHECK_THAT(
      test::message_of([&] { load_cifar100(Context(), Split::kTrain, folder.path(), false); }),
      Contains("expected 50000 records of 3074 bytes") && Contains("10000 records and 0"));
}

TEST_CASE("CIFAR's class names are all there and all different") {
  const auto distinct = [](const std::vector<std::string>& names) {
    return std::set<std::string>(names.begin(), names.end()).size();
  };
  CHECK(distinct(cifar10_classes()) == 10);
  CHECK(distinct(cifar100_classes()) == 100);
  CHECK(distinct(cifar100_coarse_classes()) == 20);
  CHECK(cifar100_classes()[19] == "cattle");
  CHECK(cifar100_classes()[99] == "worm");
}

TEST_CASE("bad CIFAR files") {
  const test::TemporaryFolder folder;
  SECTION("a missing batch") {
    folder.write("data_batch_1.bin", records({{1}}));
    CHECK_THAT(load_error(folder, Split::kTrain),
               Contains("expected data_batch_2.bin in " + folder.path()) &&
                   Contains("tools/get_data cifar10 " + folder.path()));
  }
  SECTION("cut in a record") {
    Bytes bytes = records({{1}, {2}});
    bytes.resize(4000);
    folder.write("test_batch.bin", bytes);
    CHECK_THAT(load_error(folder, Split::kTest), Contains("expected 10000 records of 3073 bytes") &&
                                                     Contains("1 records and 927 bytes"));
  }
  SECTION("cut between two records") {
    folder.write("test_batch.bin.gz", packed_file({{1}}, 9999));
    CHECK_THAT(load_error(folder, Split::kTest), Contains("9999 records and 0 bytes"));
  }
  SECTION("an empty file") {
    folder.write("test_batch.bin", {});
    CHECK_THAT(load_error(folder, Split::kTest), Contains("0 records"));
  }
  SECTION("a label out of range") {
    folder.write("test_batch.bin.gz", packed_file({{1}, {10}}));
    CHECK_THAT(load_error(folder, Split::kTest),
               Contains("test_batch.bin") && Contains("found 10 in record 1"));
  }
}

}  // namespace
}  // namespace halftone
