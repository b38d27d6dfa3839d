#include <sys/mman.h>
#include <unistd.h>

#include <stdexcept>

#include "tensor/memory.h"
#include "tensor/safetensors.h"
#include "test/fuzz/fuzz.h"

namespace halftone::test {
namespace {

// A file in memory, under a name.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(memfd_create("mutant", 0)) {
    if (descriptor_ < 0) throw std::runtime_error("no file in memory");
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }
  void write(const std::string& bytes) const {
    const auto size = static_cast<off_t>(bytes.size());
    if (ftruncate(descriptor_, size) != 0 ||
        pwrite(descriptor_, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(size))
      throw std::runtime_error("a file in memory cannot be written");
  }

 private:
  int descriptor_;
};

constexpr size_t kDataBytes = 24 + 8 + 3 + 1;

std::string valid_file() {
  std::string header = R"({"__metadata__":{"format":"pt"},)"
                       R"("codes":{"dtype":"U8","shape":[3],"data_offsets":[32,35]},)"
                       R"("features.0.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                       R"("flag":{"dtype":"BOOL","shape":[],"data_offsets":[35,36]},)"
                       R"("steps":{"dtype":"I64","shape":[1],"data_offsets":[24,32]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t length = header.size();
  std::string data(kDataBytes, '\0');
  for (size_t i = 0; i < 24; i += 4) data[i + 2] = '\0', data[i + 3] = '?';  // 0.5
  data[24] = 12, data[32] = 1, data[33] = 2, data[34] = 3, data[35] = 1;
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

// Keeps the length word true, so that mutations reach the checks behind it.
void mend_length(std::string* bytes) {
  if (bytes->size() < 8 + kDataBytes) return;
  const uint64_t length = bytes->size() - 8 - kDataBytes;
  bytes->replace(0, 8, reinterpret_cast<const char*>(&length), 8);
}

}  // namespace

FuzzCount fuzz_safetensors(uint64_t inputs, uint64_t seed) {
  const std::string telling("{}[],:\"\\0123456789-.eE \xff\0", 25), valid = valid_file();
  const MemoryFile file;
  const std::string path = file.path();
  const Context context;
  const Philox random{seed, 0};
  uint64_t draw = 0;
  FuzzCount count;
  for (uint64_t i = 0; i < inputs; ++i) {
    std::string bytes = valid;
    for (uint64_t n = 1 + random.below(draw++, 3); n > 0; --n)
      bytes = mutate(bytes, telling, random, &draw);
    if (random.below(draw++, 4) > 0) mend_length(&bytes);
    file.write(bytes);
    try {
      load_safetensors(context, path);
      ++count.loaded;
    } catch (const Error& e) {
      check_message(e.what());
      ++count.refused;
    }
  }
  if (context.memory().stats().live_bytes != 0) throw std::logic_error("memory is left behind");
  return count;
}

}  // namespace halftone::test
