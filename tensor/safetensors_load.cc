#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <system_error>

#include "tensor/safetensors.h"
#include "tensor/safetensors_header.h"

namespace halftone {
namespace {

Error fault(const std::string& path, int line = __builtin_LINE()) {
  return Error("load safetensors", __FILE__, line).at(path);
}

// A regular file, read from front to back.
class Reader {
 public:
  explicit Reader(const std::string& path)
      : path_(path), fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd_ < 0) throw fault(path).what_happened("cannot open it").found(message(errno));
    struct stat info;
    if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
      const bool folder = S_ISDIR(info.st_mode);
      ::close(fd_);
      throw fault(path).expected("a file").found(folder ? "a folder" : "a special file");
    }
    bytes_ = static_cast<uint64_t>(info.st_size);
  }
  ~Reader() { ::close(fd_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  uint64_t bytes() const { return bytes_; }

  void read(void* to, uint64_t bytes) {
    char* at = static_cast<char*>(to);
    while (bytes > 0) {
      const ssize_t got = ::read(fd_, at, bytes);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        throw fault(path_)
            .what_happened("cannot read it")
            .found(got < 0 ? message(errno)
                           : "the end of the file, " + std::to_string(bytes) + " bytes early");
      }
      at += got;
      bytes -= static_cast<uint64_t>(got);
    }
  }

 private:
  static std::string message(int error) { return std::generic_category().message(error); }
  const std::string& path_;
  int fd_;
  uint64_t bytes_ = 0;
};

std::string read_header(const std::string& path, Reader& file) {
  if (file.bytes() < 8) {
    throw fault(path)
        .what_happened("the file is truncated")
        .expected("at least the 8 bytes of the header's length")
        .found(std::to_string(file.bytes()) + " bytes");
  }
  uint64_t length;  // little-endian, as this machine is
  file.read(&length, sizeof length);
  if (memcmp(&length, "PK\x03\x04", 4) == 0) {
    throw fault(path)
        .expected("a safetensors file")
        .found("a zip archive, as torch.save writes")
        .fix("safetensors.torch.save_file(model.state_dict(), \"weights.safetensors\")");
  }
  if (length > kMaxSafetensorsHeader) {
    throw fault(path)
        .expected("a header of at most " + std::to_string(kMaxSafetensorsHeader) + " bytes")
        .found("length " + std::to_string(length))
        .fix("is this a safetensors file?");
  }
  if (length > file.bytes() - 8) {
    throw fault(path)
        .what_happened("the file is truncated")
        .expected("a header of " + std::to_string(length) + " bytes")
        .found(std::to_string(file.bytes() - 8));
  }
  std::string header(length, '\0');
  file.read(header.data(), length);
  return header;
}

SafetensorsHeader checked_header(const std::string& path, Reader& file) {
  const std::string json = read_header(path, file);
  return parse_safetensors_header(path, json, file.bytes() - 8 - json.size());
}

float half_to_float(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const float fraction = static_cast<float>(half & 1023);
  const float sign = half & 0x8000 ? -1.0f : 1.0f;
  if (exponent == 31) return fraction == 0 ? sign * INFINITY : std::copysign(NAN, sign);
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024.0f + fraction, exponent - 25);
}

float double_to_float(const std::string& path, const SafetensorsEntry& entry, double value) {
  const float rounded = static_cast<float>(value);
  if (std::isinf(rounded) && !std::isinf(value)) {
    throw fault(path)
        .what_happened("tensor \"" + entry.name + "\" holds F64, which is read as float32")
        .expected("values up to 3.4e38")
        .found(std::to_string(value));
  }
  return rounded;
}

// to[i] = convert(element i of `from`), which may be unaligned.
template <class From, class To, class Convert>
void convert_each(const char* from, int64_t count, To* to, Convert&& convert) {
  for (int64_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, from + i * static_cast<int64_t>(sizeof value), sizeof value);
    to[i] = convert(value);
  }
}

// F16 and I16 exactly; F64 rounded, unless that would make a number infinite.
void convert(const std::string& path, const SafetensorsEntry& entry, const char* from,
             Tensor* tensor) {
  const std::string type = entry.type.name;
  const int64_t count = tensor->numel();
  if (type == "F64") {
    convert_each<double>(from, count, tensor->data<float>(),
                         [&](double value) { return double_to_float(path, entry, value); });
  } else if (type == "F16") {
    convert_each<uint16_t>(from, count, tensor->data<float>(), half_to_float);
  } else {
    convert_each<int16_t>(from, count, tensor->data<int32_t>(),
                          [](int16_t value) { return static_cast<int32_t>(value); });
  }
}

void check_bools(const std::string& path, const SafetensorsEntry& entry, const Tensor& tensor) {
  const uint8_t* bytes = static_cast<const uint8_t*>(tensor.raw());
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    if (bytes[i] <= 1) continue;
    throw fault(path)
        .what_happened("tensor \"" + entry.name + "\"")
        .expected("BOOL bytes of 0 or 1")
        .found(std::to_string(bytes[i]) + " at element " + std::to_string(i));
  }
}

Tensor read_tensor(const Context& context, const std::string& path, const SafetensorsEntry& entry,
                   Reader& file) {
  Tensor tensor = Tensor::empty(context.host(), entry.shape, entry.type.dtype);
  if (entry.type.name == std::string(safetensors_type(entry.type.dtype).name)) {
    file.read(tensor.raw(), tensor.nbytes());
    if (tensor.dtype() == DType::kBool) check_bools(path, entry, tensor);
  } else {
    std::string bytes(entry.end - entry.begin, '\0');
    file.read(bytes.data(), bytes.size());
    convert(path, entry, bytes.data(), &tensor);
  }
  return tensor.to(context);
}

}  // namespace

TensorFile load_safetensors(const Context& context, const std::string& path) {
  Reader file(path);
  SafetensorsHeader header = checked_header(path, file);
  TensorFile result;
  result.metadata = std::move(header.metadata);
  for (const SafetensorsEntry& entry : header.entries) {
    result.tensors[entry.name] = read_tensor(context, path, entry, file);
  }
  return result;
}

std::map<std::string, std::string> load_safetensors_metadata(const std::string& path) {
  Reader file(path);
  return checked_header(path, file).metadata;
}

}  // namespace halftone
