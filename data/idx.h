// MNIST's IDX files (http://yann.lecun.com/exdb/mnist, "File formats"): big-endian header
// 00 00 TYPE RANK, RANK extents of 32 bits, then the values. Only TYPE 08 (bytes) occurs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace halftone {

struct IdxFile {
  std::vector<int64_t> dims;
  std::vector<uint8_t> values;
};

// Reads a plain or .gz file and checks header and size. rank: 3 for images, 1 for labels.
IdxFile read_idx(const std::string& path, int rank);

}  // namespace halftone
