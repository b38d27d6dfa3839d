// Small files for reader tests, and a look at the errors they cause.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include "tensor/error.h"

namespace halftone::test {

using Bytes = std::vector<uint8_t>;

// A folder that vanishes with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  // Writes a file (making the folders it needs) and returns its path.
  std::string write(const std::string& name, const Bytes& bytes) const;

 private:
  std::string path_;
};

Bytes gzip(const Bytes& bytes);
Bytes idx_labels(const Bytes& labels);
// All pixels are `fill`.
Bytes idx_images(uint32_t count, uint32_t rows, uint32_t columns, uint8_t fill = 0);

// The message of the Error that `body` throws; fails the test when it throws none.
template <class Body>
std::string message_of(Body body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  FAIL("no Error was thrown");
  return "";
}

}  // namespace halftone::test
