// Two seconds of mutated files: each loads or throws an Error, and nothing else happens.
#include <catch2/catch.hpp>
#include <chrono>

#include "tensor/memory.h"
#include "tensor/random.h"
#include "tensor/safetensors.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

namespace {

std::string valid_file(const TempFolder& folder) {
  const Context context;
  TensorFile file;
  file.metadata = {{"format", "pt"}};
  file.tensors["features.0.weight"] = Tensor::full(context, {2, 3}, 0.5f);
  file.tensors["codes"] = Tensor::from<uint8_t>(context, {3}, {1, 2, 3});
  file.tensors["flag"] = Tensor::from<bool>(context, {}, {true});
  file.tensors["steps"] = Tensor::from<int64_t>(context, {1}, {12});
  save_safetensors(folder / "valid", file);
  return read_bytes(folder / "valid");
}

// A change that a fuzzer would try first: a bit, a byte that JSON cares for, a cut, a repeat.
std::string mutate(std::string bytes, const Philox& random, uint64_t* draw) {
  constexpr char kTelling[] = "{}[],:\"\\0123456789-.eE \xff\0";
  const uint64_t at = random.below((*draw)++, bytes.size());
  const uint64_t length = 1 + random.below((*draw)++, 20);
  const uint64_t pick = random.below((*draw)++, 1 << 20);
  switch (random.below((*draw)++, 6)) {
    case 0:
      bytes[at] = static_cast<char>(bytes[at] ^ 1 << pick % 8);
      break;
    case 1:
      bytes[at] = kTelling[pick % sizeof kTelling];
      break;
    case 2:
      bytes.erase(at, length);
      break;
    case 3:
      bytes.insert(at, bytes.substr(pick % bytes.size(), length));
      break;
    case 4:
      bytes.resize(at);
      break;
    case 5:
      bytes.insert(at, length, kTelling[pick % sizeof kTelling]);
      break;
  }
  return bytes.empty() ? std::string(1, '{') : bytes;
}

// Keeps the length word true, so that mutations reach the checks behind it.
void mend_length(std::string* bytes, size_t data_bytes) {
  if (bytes->size() < 8 + data_bytes) return;
  const uint64_t length = bytes->size() - 8 - data_bytes;
  bytes->replace(0, 8, reinterpret_cast<const char*>(&length), 8);
}

}  // namespace

TEST_CASE("a mutated file loads or is an Error") {
  TempFolder folder;
  const std::string valid = valid_file(folder);
  const size_t data_bytes = 24 + 8 + 3 + 1;
  const Context context;
  const Philox random{2024, 0};
  uint64_t draw = 0;
  int loaded = 0, refused = 0;
  const auto stop = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  while (std::chrono::steady_clock::now() < stop) {
    std::string bytes = valid;
    for (uint64_t n = 1 + random.below(draw++, 3); n > 0; --n) bytes = mutate(bytes, random, &draw);
    if (random.below(draw++, 4) > 0) mend_length(&bytes, data_bytes);
    // A new file each time: file systems sync one that is truncated and written again.
    std::filesystem::remove(folder / "mutant");
    write_bytes(folder / "mutant", bytes);
    try {
      load_safetensors(context, folder / "mutant");
      ++loaded;
    } catch (const Error& e) {
      REQUIRE(std::string(e.what()).find('\n') == std::string::npos);
      ++refused;
    }  // any other exception ends the test
  }
  CAPTURE(loaded, refused);
  REQUIRE(loaded > 10);
  REQUIRE(refused > 100);
  REQUIRE(context.memory().stats().live_bytes == 0);
}
