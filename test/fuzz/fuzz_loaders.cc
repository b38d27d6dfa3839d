// fuzz_loaders INPUTS [SEED]: so many mutated files, half of them programs, half safetensors.
// bazel run --config=asan_ubsan //test/fuzz:fuzz_loaders -- 10000000
#include <cstdio>
#include <cstdlib>

#include "test/fuzz/fuzz.h"

namespace {

void report(const char* format, const halftone::test::FuzzCount& c) {
  std::printf("%s: %llu loaded, %llu of them run, %llu refused\n", format,
              static_cast<unsigned long long>(c.loaded), static_cast<unsigned long long>(c.run),
              static_cast<unsigned long long>(c.refused));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: fuzz_loaders INPUTS [SEED]\n");
    return 2;
  }
  const uint64_t inputs = std::strtoull(argv[1], nullptr, 10);
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  report("programs", halftone::test::fuzz_programs(inputs / 2, seed));
  report("safetensors", halftone::test::fuzz_safetensors(inputs - inputs / 2, seed));
  return 0;
}
