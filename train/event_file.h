// TensorBoard event files.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace halftone {

// Appends scalars to FOLDER/events.out.tfevents.<10-digit seconds>.<host>. Records are framed as
// TFRecord (length, masked CRC-32C, data, masked CRC-32C); the messages are tensorflow.Event with a
// scalar Summary.
class EventFile {
 public:
  // Opens the folder's event file, or makes one. When `keep_bytes` is not negative the file is cut
  // to it: how a resumed run drops what its lost steps had written.
  EventFile(const std::string& folder, int64_t keep_bytes = -1);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  void scalar(const std::string& tag, int64_t step, float value);
  void flush();
  int64_t bytes() const { return bytes_; }
  const std::string& path() const { return path_; }

 private:
  void record(const std::string& message);
  std::string path_;
  std::FILE* file_ = nullptr;
  int64_t bytes_ = 0;
};

// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78).
uint32_t crc32c(const void* data, size_t size);

}  // namespace halftone
