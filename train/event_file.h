// TensorBoard event files.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "tensor/error.h"

namespace halftone {

// Appends scalars to FOLDER/events.out.tfevents.<10-digit seconds>.<host>. Records are framed as
// TFRecord (length, masked CRC-32C, data, masked CRC-32C); the messages are tensorflow.Event with a
// scalar Summary.
class EventFile {
 public:
  // Opens the folder's event file, or makes one. Records of steps after `resume_step`, and a torn
  // last record, are cut off.
  explicit EventFile(const std::string& folder, int64_t resume_step = -1);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  void scalar(const std::string& tag, int64_t step, float value);
  void flush();
  const std::string& path() const { return path_; }

 private:
  void record(const std::string& message);
  std::string path_;
  std::FILE* file_ = nullptr;
};

// "OP: PATH: cannot write, REASON of errno".
Error file_error(const std::string& op, const std::string& path);

// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78).
uint32_t crc32c(const void* data, size_t size);

}  // namespace halftone
