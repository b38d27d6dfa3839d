// What the compiler knows of a value of the graph, and tables of codes. Inside //deploy only.
#pragma once

#include <string>
#include <vector>

#include "deploy/runtime/program.h"
#include "quant/fake_quantize.h"

namespace halftone {

// A value of the traced graph as the program has it.
struct CodeValue {
  int32_t value = -1;  // of the program; -1: reals, which a program cannot hold
  QuantParams params;  // of a value behind the image
  // Elementwise modules that have run since: only together with a quantizer they are a table.
  std::vector<Module*> pending;
  bool flattened = false;  // in training; the program leaves the image as it is
  std::string why;         // value -1: whose fault it is
};

// The codes of all 256 codes of `in`, per channel: the modules and then the quantizer (null: the
// last module's own) are run on them. A table of one channel where all are alike.
struct CodeTable {
  std::vector<uint8_t> codes;
  QuantParams params;
};
// `normalisation`: the reals of an image's bytes, 256 per channel; empty for codes. Throws when no
// codes come out.
CodeTable tabulate(const Context& context, const CodeValue& in, int64_t channels,
                   const std::vector<float>& normalisation, FakeQuantize* quantizer);

// Throws the Error of a layer that cannot be deployed.
[[noreturn]] void refuse(const std::string& path, const std::string& why);

}  // namespace halftone
