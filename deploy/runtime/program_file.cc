#include "deploy/runtime/program_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <memory>

#include "deploy/runtime/bytes.h"

namespace halftone::runtime {
namespace {

constexpr char kMagic[] = "HALFTONE";
constexpr size_t kMagicSize = 8, kHeader = kMagicSize + 4 + 4 + 8;
constexpr size_t kLargestFile = size_t{1} << 30;

// Of zlib, PNG and Ethernet.
uint32_t crc32(const char* data, size_t size) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t n = 0; n < 256; ++n) {
      t[n] = n;
      for (int k = 0; k < 8; ++k) t[n] = (t[n] & 1) != 0 ? 0xedb88320u ^ (t[n] >> 1) : t[n] >> 1;
    }
    return t;
  }();
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < size; ++i)
    crc = table[(crc ^ static_cast<uint8_t>(data[i])) & 0xff] ^ (crc >> 8);
  return ~crc;
}

// One list of fields for both directions: Stream is a ByteWriter or a ByteReader behind `field`.
struct Saver {
  ByteWriter& out;
  uint32_t version;
  template <class T>
  void field(const T& v) {
    out.put(v);
  }
  void field(const bool& v) { out.put(static_cast<uint8_t>(v)); }
  void field(const OpKind& v) { out.put(static_cast<uint8_t>(v)); }
  void field(const std::string& v) { out.put_bytes(v.data(), v.size()); }
  void field(const std::vector<uint8_t>& v) { out.put_bytes(v.data(), v.size()); }
  template <class T, class Each>
  void list(std::vector<T>& items, size_t, Each each) {
    out.put(static_cast<uint32_t>(items.size()));
    for (T& item : items) each(item);
  }
};

struct Loader {
  ByteReader& in;
  uint32_t version;
  template <class T>
  void field(T& v) {
    v = in.get<T>();
  }
  void field(bool& v) { v = in.get_flag(); }
  void field(OpKind& v) { v = static_cast<OpKind>(in.get<uint8_t>()); }
  void field(std::string& v) { v = in.get_string(); }
  void field(std::vector<uint8_t>& v) { v = in.get_bytes(); }
  template <class T, class Each>
  void list(std::vector<T>& items, size_t least, Each each) {
    items.resize(in.get_count(least));
    for (T& item : items) each(item);
  }
};

template <class Stream>
void pass(Stream& s, integer::Image& v) {
  s.field(v.height), s.field(v.width), s.field(v.channels);
}

template <class Stream>
void pass(Stream& s, integer::Window& w) {
  s.field(w.kernel_h), s.field(w.kernel_w), s.field(w.stride_h), s.field(w.stride_w);
  s.field(w.pad_h), s.field(w.pad_w), s.field(w.dilation_h), s.field(w.dilation_w);
}

template <class Stream>
void pass(Stream& s, Value& v) {
  s.field(v.name), pass(s, v.shape), s.field(v.is_float);
  s.field(v.scale), s.field(v.zero_point), s.field(v.low), s.field(v.high);
}

template <class Stream>
void pass(Stream& s, OutputChannel& c) {
  s.field(c.constant), s.field(c.negated), s.field(c.takes_min);
  s.field(c.bias), s.field(c.multiplier);
}

template <class Stream>
void pass(Stream& s, Weights& w) {
  s.field(w.bits), s.field(w.low), s.field(w.step), s.field(w.shift), s.field(w.packed);
  if (s.version >= 2) s.field(w.zero_points);
}

template <class Stream>
void pass_convolution(Stream& s, Op& op) {
  pass(s, op.window), s.field(op.groups), s.field(op.pad_code), pass(s, op.weights);
  s.field(op.pools);
  if (op.pools) pass(s, op.pool), pass(s, op.unpooled);
}

// Only what the kind has.
template <class Stream>
void pass(Stream& s, Op& op) {
  constexpr size_t kChannelBytes = 11;
  s.field(op.kind), s.field(op.name), s.field(op.output);
  s.list(op.inputs, 4, [&](int32_t& v) { s.field(v); });
  const bool convolves = op.kind == OpKind::kConvolution;
  if (op.kind == OpKind::kTable) s.field(op.table);
  if (convolves) pass_convolution(s, op);
  if (op.kind == OpKind::kMaxPool) pass(s, op.window);
  if (op.kind == OpKind::kSubsamplePad) s.field(op.window.stride_h), s.field(op.pad_before);
  if (convolves || op.kind == OpKind::kAveragePool)
    s.list(op.channels, kChannelBytes, [&](OutputChannel& c) { pass(s, c); });
  if (convolves || op.kind == OpKind::kAveragePool || op.kind == OpKind::kAdd)
    s.field(op.low), s.field(op.high);
}

template <class Stream>
void pass(Stream& s, Program& p) {
  s.field(p.network);
  s.list(p.values, 33, [&](Value& v) { pass(s, v); });
  s.list(p.ops, 13, [&](Op& op) { pass(s, op); });
}

Program read_body(const char* data, size_t size, uint32_t version) {
  ByteReader in(data, size);
  Loader loader{in, version};
  Program program;
  pass(loader, program);
  if (in.left() != 0) throw ProgramError("there is something behind its end");
  check_program(program);
  return program;
}

// The oldest that has all that the program needs: older libraries read it too.
uint32_t version_for(const Program& program) {
  const auto has_zero_points = [](const Op& op) { return !op.weights.zero_points.empty(); };
  return std::any_of(program.ops.begin(), program.ops.end(), has_zero_points) ? 2 : 1;
}

// The body of a whole file.
const char* checked_body(const char* data, size_t size, size_t& body, uint32_t& version) {
  if (size < kMagicSize || memcmp(data, kMagic, kMagicSize) != 0)
    throw ProgramError("this is no program of Halftone");
  if (size < kHeader) throw ProgramError("it ends too early");
  ByteReader in(data + kMagicSize, size - kMagicSize);
  version = in.get<uint32_t>();
  const uint32_t sum = in.get<uint32_t>();
  const uint64_t bytes = in.get<uint64_t>();
  if (version > kProgramVersion || version == 0) {
    throw ProgramError("it has version " + std::to_string(version) +
                       ", this library reads up to version " + std::to_string(kProgramVersion) +
                       "; take a newer library, or export again");
  }
  if (bytes != in.left()) {
    throw ProgramError("it should have " + std::to_string(bytes) +
                       " bytes behind its header, not " + std::to_string(in.left()) +
                       ": it was cut, or something was added");
  }
  body = static_cast<size_t>(bytes);
  if (crc32(data + kHeader, body) != sum)
    throw ProgramError("its checksum does not fit: it is corrupted");
  return data + kHeader;
}

}  // namespace

std::string to_bytes(const Program& program) {
  ByteWriter body, file;
  const uint32_t version = version_for(program);
  Saver saver{body, version};
  Program copy = program;  // pass() is written for both directions
  pass(saver, copy);
  const std::string bytes = body.take();
  file.put(version);
  file.put(crc32(bytes.data(), bytes.size()));
  file.put(static_cast<uint64_t>(bytes.size()));
  return kMagic + file.take() + bytes;
}

Program program_from_bytes(const void* data, size_t size, const std::string& where) {
  try {
    size_t body = 0;
    uint32_t version = 0;
    const char* from = checked_body(static_cast<const char*>(data), size, body, version);
    return read_body(from, body, version);
  } catch (const ProgramError& e) {
    throw ProgramError(where + ": " + e.what());
  }
}

Program load_program(const std::string& path) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(fopen(path.c_str(), "rb"), fclose);
  if (file == nullptr) throw ProgramError(path + ": the file cannot be opened: " + strerror(errno));
  std::string bytes;
  char buffer[1 << 16];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), file.get())) > 0;) {
    bytes.append(buffer, n);
    if (bytes.size() > kLargestFile) throw ProgramError(path + ": more than 1 GiB, no program");
  }
  if (ferror(file.get()) != 0)
    throw ProgramError(path + ": the file cannot be read: " + strerror(errno));
  return program_from_bytes(bytes.data(), bytes.size(), path);
}

}  // namespace halftone::runtime
