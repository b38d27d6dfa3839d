#include "train/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace halftone {
namespace {

constexpr const char* kPrefix = "events.out.tfevents.";

std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c >> 1) ^ (0x82F63B78u & (0u - (c & 1)));
    table[i] = c;
  }
  return table;
}

uint32_t masked_crc(const void* data, size_t size) {
  const uint32_t crc = crc32c(data, size);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

template <class T>
void append_raw(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

// Protobuf wire format: key = field << 3 | type; 0 varint, 1 eight bytes, 2 length-delimited, 5
// four bytes.
void append_bytes(std::string& out, int field, const std::string& bytes) {
  append_varint(out, static_cast<uint64_t>(field) << 3 | 2);
  append_varint(out, bytes.size());
  out += bytes;
}

std::string event_header() {  // Event.wall_time = 1
  using namespace std::chrono;
  std::string out;
  append_varint(out, 1 << 3 | 1);
  append_raw(out, duration<double>(system_clock::now().time_since_epoch()).count());
  return out;
}

std::string existing_file(const std::string& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().rfind(kPrefix, 0) == 0) return entry.path().string();
  }
  return "";
}

std::string new_name(const std::string& folder) {
  char host[256] = "localhost";
  gethostname(host, sizeof host - 1);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  return fmt::format("{}/{}{:010d}.{}", folder, kPrefix, seconds, host);
}

// The step of an event that scalar() wrote: behind wall_time (9 bytes) comes key 2 and a varint.
int64_t step_of(const std::string& message) {
  if (message.size() < 11 || message[9] != 2 << 3) return -1;  // the header has none
  uint64_t step = 0;
  int shift = 0;
  for (size_t i = 10; i < message.size() && shift < 63; ++i, shift += 7) {
    step |= static_cast<uint64_t>(message[i] & 0x7f) << shift;
    if ((message[i] & 0x80) == 0) break;
  }
  return static_cast<int64_t>(step);
}

// Length of the leading part that is whole records of steps up to `last_step`.
int64_t kept_bytes(const std::string& path, int64_t last_step) {
  std::ifstream in(path, std::ios::binary);
  int64_t kept = 0;
  for (uint64_t length = 0; in.read(reinterpret_cast<char*>(&length), 8) && length < (1 << 20);) {
    std::string message(length, '\0');
    char sums[4];
    if (!in.read(sums, 4) || !in.read(&message[0], static_cast<std::streamsize>(length)) ||
        !in.read(sums, 4) || step_of(message) > last_step) {
      break;
    }
    kept += 16 + static_cast<int64_t>(length);
  }
  return kept;
}

}  // namespace

Error file_error(const std::string& op, const std::string& path) {
  return HALFTONE_ERROR(op)
      .at(path)
      .what_happened("cannot write")
      .found(std::strerror(errno))
      .fix("free space, or choose another --out");
}

uint32_t crc32c(const void* data, size_t size) {
  static const std::array<uint32_t, 256> table = make_crc_table();
  const unsigned char* bytes = static_cast<const unsigned char*>(data);
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < size; ++i) crc = table[(crc ^ bytes[i]) & 0xff] ^ (crc >> 8);
  return ~crc;
}

EventFile::EventFile(const std::string& folder, int64_t resume_step)
    : path_(existing_file(folder)) {
  const bool fresh = path_.empty();
  if (fresh) path_ = new_name(folder);
  const int64_t kept = fresh ? 0 : kept_bytes(path_, resume_step);
  if (!fresh && truncate(path_.c_str(), kept) != 0) throw file_error("event file", path_);
  file_ = std::fopen(path_.c_str(), "ab");
  if (file_ == nullptr) throw file_error("event file", path_);
  if (kept > 0) return;
  std::string message = event_header();
  append_bytes(message, 3, "brain.Event:2");  // Event.file_version
  record(message);
}

EventFile::~EventFile() { std::fclose(file_); }

void EventFile::record(const std::string& message) {
  std::string out;
  append_raw(out, static_cast<uint64_t>(message.size()));
  append_raw(out, masked_crc(out.data(), 8));
  out += message;
  append_raw(out, masked_crc(message.data(), message.size()));
  if (std::fwrite(out.data(), 1, out.size(), file_) != out.size())
    throw file_error("event file", path_);
}

void EventFile::scalar(const std::string& tag, int64_t step, float value) {
  std::string entry, summary, message = event_header();
  append_bytes(entry, 1, tag);       // Summary.Value.tag
  append_varint(entry, 2 << 3 | 5);  // Summary.Value.simple_value
  append_raw(entry, value);
  append_bytes(summary, 1, entry);  // Summary.value
  append_varint(message, 2 << 3);   // Event.step
  append_varint(message, static_cast<uint64_t>(step));
  append_bytes(message, 5, summary);  // Event.summary
  record(message);
}

void EventFile::flush() {
  if (std::fflush(file_) != 0 || fsync(fileno(file_)) != 0) throw file_error("event file", path_);
}

}  // namespace halftone
