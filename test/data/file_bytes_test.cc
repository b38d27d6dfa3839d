#include "data/file_bytes.h"

#include <filesystem>

#include "test/data/files.h"

namespace halftone {
namespace {

using Catch::Contains;
using test::Bytes;
using test::message_of;

Bytes some_bytes() {
  Bytes bytes;
  for (int i = 0; i < 5000; ++i) bytes.push_back(static_cast<uint8_t>(i * i % 251));
  return bytes;
}

std::string read_error(const std::string& path) {
  return message_of([&] { read_file_bytes(path); });
}

TEST_CASE("plain and gzip files give the same bytes") {
  const test::TemporaryFolder folder;
  CHECK(read_file_bytes(folder.write("plain", some_bytes())) == some_bytes());
  CHECK(read_file_bytes(folder.write("packed.gz", test::gzip(some_bytes()))) == some_bytes());
}

TEST_CASE("gzip that unpacks to far more than its size hint allows for") {
  const test::TemporaryFolder folder;
  const Bytes zeros(3000000, 0);  // packs 1000 to 1
  CHECK(read_file_bytes(folder.write("zeros.gz", test::gzip(zeros))) == zeros);
}

TEST_CASE("a missing file is named") {
  CHECK_THAT(read_error("/nowhere/at/all"),
             Contains("/nowhere/at/all") && Contains("No such file or directory"));
}

TEST_CASE("a folder with a file's name is said, not passed over") {
  const test::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "labels");
  folder.write("labels.gz", some_bytes());
  CHECK_THAT(message_of([&] {
               find_file({folder.path()}, {"labels", "labels.gz"});
             }),
             Contains("labels") && Contains("expected a file, found a folder"));
}

TEST_CASE("damaged gzip files") {
  const test::TemporaryFolder folder;
  Bytes packed = test::gzip(some_bytes());

  SECTION("cut short") {
    packed.resize(packed.size() / 2);
    CHECK_THAT(read_error(folder.write("cut.gz", packed)),
               Contains("cut.gz") && Contains("cut short"));
  }
  SECTION("a wrong checksum") {
    packed[packed.size() - 8] ^= 1;
    CHECK_THAT(read_error(folder.write("crc.gz", packed)),
               Contains("crc.gz") && Contains("corrupted: incorrect data check"));
  }
  SECTION("a flipped bit in the middle") {
    packed[packed.size() / 2] ^= 4;
    CHECK_THAT(read_error(folder.write("bit.gz", packed)), Contains("corrupted"));
  }
  SECTION("bytes after the end") {
    packed.push_back(7);
    CHECK_THAT(read_error(folder.write("tail.gz", packed)), Contains("1 bytes follow the end"));
  }
  SECTION("not gzip at all") {
    CHECK_THAT(read_error(folder.write("text.gz", some_bytes())), Contains("the content is not"));
  }
}

}  // namespace
}  // namespace halftone
