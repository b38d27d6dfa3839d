// Loaders under mutated files. Fixed seeds: an input can be made again.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/random.h"

namespace halftone::test {

struct FuzzCount {
  uint64_t loaded = 0, refused = 0, run = 0;  // run: programs that a session has computed
};
// Each input loads, or is refused with one line; every other exception, and what a sanitizer finds,
// ends the program.
FuzzCount fuzz_safetensors(uint64_t inputs, uint64_t seed);
FuzzCount fuzz_programs(uint64_t inputs, uint64_t seed);

// A change that a fuzzer would try first, of bytes that are not empty: a bit, a byte that means
// something, a cut, a repeat.
std::string mutate(std::string bytes, const std::string& telling, const Philox& random,
                   uint64_t* draw);

// Throws std::logic_error where a message is empty or has several lines.
void check_message(const std::string& message);

}  // namespace halftone::test
