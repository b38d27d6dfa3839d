#include "data/idx.h"

#include "test/data/files.h"

namespace halftone {
namespace {

using Catch::Contains;
using test::Bytes;

std::string read_error(const std::string& path, int rank) {
  return test::message_of([&] { read_idx(path, rank); });
}

TEST_CASE("IDX images and labels are read") {
  const test::TemporaryFolder folder;
  const IdxFile images = read_idx(folder.write("images", test::idx_images(2, 3, 4, 9)), 3);
  CHECK(images.dims == std::vector<int64_t>{2, 3, 4});
  CHECK(images.values == Bytes(24, 9));
  const IdxFile labels =
      read_idx(folder.write("labels.gz", test::gzip(test::idx_labels({7, 1}))), 1);
  CHECK(labels.dims == std::vector<int64_t>{2});
  CHECK(labels.values == Bytes{7, 1});
}

TEST_CASE("bad IDX files") {
  const test::TemporaryFolder folder;
  Bytes images = test::idx_images(2, 3, 4);

  SECTION("labels under an images name") {
    const std::string error = read_error(folder.write("images", test::idx_labels({1, 2})), 3);
    CHECK_THAT(error,
               Contains("/images") && Contains("expected magic number 0x00000803 (IDX images)"));
    CHECK_THAT(error, Contains("found 0x00000801 (IDX labels)"));
  }
  SECTION("gzip data without .gz") {
    CHECK_THAT(read_error(folder.write("images", test::gzip(images)), 3),
               Contains("gzip data; the name should end in .gz"));
  }
  SECTION("some other file") {
    CHECK_THAT(read_error(folder.write("images", Bytes(100, 'x')), 3),
               Contains("0x78787878 (no IDX file of bytes)"));
  }
  SECTION("truncated values") {
    images.pop_back();
    CHECK_THAT(read_error(folder.write("images", images), 3),
               Contains("truncated") && Contains("2 x 3 x 4 values") && Contains("found 39 bytes"));
  }
  SECTION("bytes after the last value") {
    images.push_back(0);
    CHECK_THAT(read_error(folder.write("images", images), 3),
               Contains("bytes follow the last value") && Contains("found 41 bytes"));
  }
  SECTION("a header alone, cut") {
    images.resize(9);
    CHECK_THAT(read_error(folder.write("images", images), 3),
               Contains("an IDX header of 16 bytes") && Contains("found 9 bytes"));
  }
  SECTION("empty") {
    CHECK_THAT(read_error(folder.write("images", {}), 3), Contains("found 0 bytes"));
  }
  SECTION("extents that would overflow") {
    for (size_t i = 4; i < 16; ++i) images[i] = 0xff;
    CHECK_THAT(read_error(folder.write("images", images), 3), Contains("truncated"));
  }
}

}  // namespace
}  // namespace halftone
