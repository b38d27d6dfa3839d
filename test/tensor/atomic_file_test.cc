#include "tensor/atomic_file.h"

#include <catch2/catch.hpp>

#include "tensor/error.h"
#include "test/tensor/hostile_disk.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

TEST_CASE("a committed file has its bytes, small and large writes in order") {
  TempFolder folder;
  const std::string large(1000000, 'x');
  AtomicFile file(folder / "a");
  file.write("begin ");
  file.write(large);
  file.write(" end");
  REQUIRE_FALSE(std::filesystem::exists(folder / "a"));
  file.commit();
  REQUIRE(read_bytes(folder / "a") == "begin " + large + " end");
  REQUIRE(folder.entries() == 1);
  REQUIRE_THROWS_WITH(file.commit(), Contains("already committed"));
}

TEST_CASE("a file that is not committed leaves the old one as it was") {
  TempFolder folder;
  write_file_atomically(folder / "a", "old");
  {
    AtomicFile file(folder / "a");
    file.write(std::string(1000000, 'x'));
    REQUIRE(folder.entries() == 2);
  }
  REQUIRE(folder.entries() == 1);
  REQUIRE(read_bytes(folder / "a") == "old");
}

TEST_CASE("a file without a folder in its name goes to the current one") {
  TempFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  write_file_atomically("plain", "text");
  std::filesystem::current_path(before);
  REQUIRE(read_bytes(folder / "plain") == "text");
}

TEST_CASE("a missing folder is named") {
  TempFolder folder;
  REQUIRE_THROWS_WITH(write_file_atomically(folder / "none/a", "x"),
                      Contains("none/a: write file: cannot create it") &&
                          Contains("No such file or directory") &&
                          Contains("create the folder " + (folder / "none")));
}

TEST_CASE("an unwritable folder is said to be one") {
  TempFolder folder;
  UnwritableFolder locked(folder.path());
  REQUIRE_THROWS_WITH(write_file_atomically(folder / "a", "x"),
                      Contains("Permission denied") && Contains("may write to"));
}

TEST_CASE("what is no regular file is not replaced") {
  TempFolder folder;
  REQUIRE_THROWS_WITH(write_file_atomically(folder.path(), "x"), Contains("found a folder"));
  REQUIRE_THROWS_WITH(write_file_atomically("/dev/null", "x"), Contains("found a special file"));
  REQUIRE_THROWS_WITH(write_file_atomically(folder / "", "x"), Contains("a file name"));
  REQUIRE_THROWS_WITH(write_file_atomically("", "x"), Contains("a file name"));
}

TEST_CASE("a disk that fills up leaves the old file and nothing else") {
  TempFolder folder;
  write_file_atomically(folder / "a", "old");
  for (size_t bytes : {5000, 1000000}) {  // fails in commit, fails in write
    FileSizeLimit full(4096);
    REQUIRE_THROWS_WITH(
        write_file_atomically(folder / "a", std::string(bytes, 'x')),
        Contains("cannot write it") && Contains("File too large") && Contains("free some space"));
  }
  REQUIRE(folder.entries() == 1);
  REQUIRE(read_bytes(folder / "a") == "old");
}
