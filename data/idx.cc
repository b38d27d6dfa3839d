#include "data/idx.h"

#include <cstdio>

#include "data/file_bytes.h"
#include "tensor/error.h"

namespace halftone {
namespace {

uint32_t big_endian(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | p[3];
}

std::string describe_magic(uint32_t magic) {
  char hex[16];
  std::snprintf(hex, sizeof hex, "0x%08x", magic);
  const std::string text = hex;
  if (magic == 0x801) return text + " (IDX labels)";
  if (magic == 0x803) return text + " (IDX images)";
  if (magic >> 16 == 0x1f8b) return text + " (gzip data; the name should end in .gz)";
  return text + " (no IDX file of bytes)";
}

void check_magic(const std::string& path, uint32_t magic, int rank) {
  const uint32_t wanted = 0x800 + static_cast<uint32_t>(rank);
  if (magic == wanted) return;
  throw HALFTONE_ERROR("read IDX")
      .at(path)
      .expected("magic number " + describe_magic(wanted))
      .found(describe_magic(magic))
      .fix("the file may carry another file's name; fetch it again");
}

Error wrong_size(const std::string& path, const std::string& expected, size_t found) {
  return HALFTONE_ERROR("read IDX")
      .at(path)
      .expected(expected)
      .found(std::to_string(found) + " bytes")
      .fix("fetch the file again");
}

std::string product(const std::vector<int64_t>& dims) {
  std::string text;
  for (int64_t d : dims) text += (text.empty() ? "" : " x ") + std::to_string(d);
  return text;
}

}  // namespace

IdxFile read_idx(const std::string& path, int rank) {
  std::vector<uint8_t> bytes = read_file_bytes(path);
  const size_t header = 4 + 4 * static_cast<size_t>(rank);
  if (bytes.size() < 4)
    throw wrong_size(path, "an IDX header of " + std::to_string(header), bytes.size());
  check_magic(path, big_endian(bytes.data()), rank);
  if (bytes.size() < header) {
    throw wrong_size(path, "an IDX header of " + std::to_string(header) + " bytes", bytes.size());
  }
  IdxFile idx;
  unsigned __int128 count = 1;  // three extents of 32 bits fit
  for (int axis = 0; axis < rank; ++axis) {
    idx.dims.push_back(big_endian(bytes.data() + 4 + 4 * axis));
    count *= static_cast<unsigned>(idx.dims.back());
  }
  if (count != bytes.size() - header) {
    const bool cut = count > bytes.size() - header;
    throw wrong_size(
        path, product(idx.dims) + " values after a header of " + std::to_string(header) + " bytes",
        bytes.size())
        .what_happened(cut ? "truncated" : "bytes follow the last value");
  }
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<int64_t>(header));
  idx.values = std::move(bytes);
  return idx;
}

}  // namespace halftone
