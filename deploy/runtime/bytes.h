// Little-endian fields, one after the other. Inside //deploy/runtime only.
#pragma once

#include <stdint.h>
#include <string.h>

#include <string>
#include <vector>

#include "deploy/runtime/program.h"

namespace halftone::runtime {

class ByteWriter {
 public:
  template <class T>
  void put(T value) {
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian");
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void put_bytes(const void* data, size_t size) {
    put(static_cast<uint32_t>(size));
    bytes_.append(static_cast<const char*>(data), size);
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class ByteReader {
 public:
  ByteReader(const void* data, size_t size) : at_(static_cast<const char*>(data)), left_(size) {}

  template <class T>
  T get() {
    T value;
    memcpy(&value, need(sizeof(value)), sizeof(value));
    return value;
  }
  bool get_flag() { return get<uint8_t>() != 0; }
  std::string get_string() {
    const uint32_t size = get<uint32_t>();
    return std::string(need(size), size);
  }
  std::vector<uint8_t> get_bytes() {
    const uint32_t size = get<uint32_t>();
    const char* from = need(size);
    return std::vector<uint8_t>(from, from + size);
  }
  // Of items that take at least `least` bytes each: a count can claim no more than is there.
  uint32_t get_count(size_t least) {
    const uint32_t count = get<uint32_t>();
    if (count > left_ / least) throw ProgramError("it lists more than it holds");
    return count;
  }
  size_t left() const { return left_; }

 private:
  const char* need(size_t size) {
    if (size > left_) throw ProgramError("it ends too early");
    const char* from = at_;
    at_ += size;
    left_ -= size;
    return from;
  }
  const char* at_;
  size_t left_;
};

}  // namespace halftone::runtime
