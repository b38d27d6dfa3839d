#include "data/file_bytes.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include "tensor/error.h"

namespace halftone {
namespace {

std::vector<uint8_t> read_plain(const std::string& path) {
  std::error_code failed;
  const auto size = std::filesystem::file_size(path, failed);
  std::ifstream file(path, std::ios::binary);
  if (failed || !file) {
    throw HALFTONE_ERROR("read file")
        .at(path)
        .what_happened("cannot read: " + std::string(failed ? failed.message() : strerror(errno)))
        .fix("check that the file is there and that you may read it");
  }
  std::vector<uint8_t> bytes(size);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (static_cast<size_t>(file.gcount()) != size) {
    throw HALFTONE_ERROR("read file")
        .at(path)
        .expected(std::to_string(size) + " bytes")
        .found("an end or a read error after " + std::to_string(file.gcount()))
        .fix("check the disk, or copy the file again");
  }
  return bytes;
}

Error bad_gzip(const std::string& path, const std::string& what) {
  return HALFTONE_ERROR("unpack gzip")
      .at(path)
      .what_happened(what)
      .fix("delete the file and fetch it again");
}

struct Inflater {
  z_stream stream{};
  Inflater() { inflateInit2(&stream, 15 + 16); }  // 15: largest window, 16: gzip
  ~Inflater() { inflateEnd(&stream); }
};

// The last four bytes of a gzip file are its unpacked size modulo 2^32: a hint, not to be trusted.
size_t size_hint(const std::vector<uint8_t>& packed) {
  uint32_t size = 0;
  std::memcpy(&size, packed.data() + packed.size() - 4, 4);
  return std::min<size_t>(size, packed.size() * 64) + 64;
}

constexpr size_t kLargest = size_t{2} << 30;  // no data set here has half of it in one file

// One gzip member, which must fill the file.
std::vector<uint8_t> unpack(const std::string& path, const std::vector<uint8_t>& packed) {
  if (packed.size() < 18 || packed[0] != 0x1f || packed[1] != 0x8b) {
    throw bad_gzip(path, "the name says gzip, but the content is not (no 1f 8b at the start)");
  }
  if (packed.size() > kLargest) throw bad_gzip(path, "more than 2 GiB");
  Inflater inflater;
  z_stream& z = inflater.stream;
  std::vector<uint8_t> bytes(size_hint(packed));
  z.next_in = const_cast<uint8_t*>(packed.data());
  z.avail_in = static_cast<uInt>(packed.size());
  int status = Z_OK;
  while (status == Z_OK) {
    if (z.total_out == bytes.size()) {
      if (bytes.size() > kLargest) throw bad_gzip(path, "more than 2 GiB when unpacked");
      bytes.resize(2 * bytes.size());
    }
    z.next_out = bytes.data() + z.total_out;
    z.avail_out = static_cast<uInt>(std::min<size_t>(bytes.size() - z.total_out, 1u << 30));
    status = inflate(&z, Z_NO_FLUSH);
  }
  if (status == Z_BUF_ERROR) throw bad_gzip(path, "cut short: the gzip stream does not end");
  if (status != Z_STREAM_END) {
    throw bad_gzip(path, std::string("corrupted: ") + (z.msg ? z.msg : "bad gzip data"));
  }
  if (z.avail_in > 0) {
    throw bad_gzip(path, std::to_string(z.avail_in) + " bytes follow the end of the gzip stream");
  }
  bytes.resize(z.total_out);
  return bytes;
}

// Empty is as good as unset.
std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

std::vector<uint8_t> read_file_bytes(const std::string& path) {
  std::vector<uint8_t> bytes = read_plain(path);
  const bool gz = path.size() > 3 && path.compare(path.size() - 3, 3, ".gz") == 0;
  return gz ? unpack(path, bytes) : bytes;
}

std::vector<std::string> data_folders(const std::string& set, const std::string& data_dir) {
  if (!data_dir.empty()) return {data_dir, data_dir + "/" + set};
  std::vector<std::string> folders;
  const std::string data = variable("HALFTONE_DATA"), home = variable("HOME");
  std::string cache = variable("XDG_CACHE_HOME");
  if (!data.empty()) folders = {data + "/" + set};
  if (cache.empty() && !home.empty()) cache = home + "/.cache";
  if (!cache.empty()) folders.push_back(cache + "/halftone/" + set);
  return folders;
}

std::string find_file(const std::vector<std::string>& folders,
                      const std::vector<std::string>& names) {
  for (const std::string& folder : folders) {
    for (const std::string& name : names) {
      std::error_code ignored;
      const auto path = std::filesystem::path(folder) / name;
      if (!std::filesystem::exists(path, ignored)) continue;
      if (std::filesystem::is_regular_file(path, ignored)) return path.string();
      throw HALFTONE_ERROR("read file")
          .at(path.string())
          .expected("a file")
          .found(std::filesystem::is_directory(path, ignored) ? "a folder" : "no regular file")
          .fix("put the file itself there, or take this away");
    }
  }
  return "";
}

std::string one_of(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

}  // namespace halftone
