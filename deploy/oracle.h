// A program computed a second time, from the definitions: one output at a time, 64-bit sums,
// rounding spelled out. Shares with the engine the description of the program and nothing else.
#pragma once

#include <cstdint>
#include <vector>

#include "deploy/runtime/program.h"

namespace halftone {

// How it computes; anything but the defaults is another network: negative controls, and what
// `halftone verify` tries to explain a difference by.
struct OracleRules {
  enum class Rounding : uint8_t { kHalfEven, kHalfAway, kHalfUp, kTruncate };
  Rounding rounding = Rounding::kHalfEven;
  bool pads_with_code_0 = false;    // not with the code of zero
  bool bf16_multipliers = false;    // rounded to 8 significant bits
  bool ignores_zero_point = false;  // of the input of a convolution
};

// Of one image, by value; that of a float value is empty.
using CodeTensors = std::vector<std::vector<uint8_t>>;

class Oracle {
 public:
  explicit Oracle(const runtime::Program& program, const OracleRules& rules = {});

  // codes[0] is the image.
  void run(CodeTensors& codes, std::vector<float>& result) const;
  // One operation, from the codes of its inputs: its own codes, or reals where it makes floats.
  void run_op(size_t index, const CodeTensors& codes, std::vector<uint8_t>& out,
              std::vector<float>& reals) const;

 private:
  const runtime::Program& program_;
  OracleRules rules_;
  std::vector<std::vector<int16_t>> weights_;  // by operation
};

}  // namespace halftone
