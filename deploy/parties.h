// Who computes the network: its training code in evaluation, the engine with each of its bodies,
// the oracle. `verify` compares what they make. Another runtime (ONNX Runtime) is one more Party.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "deploy/compile.h"
#include "deploy/oracle.h"
#include "kernels/integer/products.h"

namespace halftone {

// Of a batch. codes[v]: count * size of value v, image after image, (H, W, C) each; empty where the
// party does not show it, and for the image and floats. reals: of the result, likewise.
struct BatchTensors {
  CodeTensors codes;
  std::vector<float> reals;
};

class Party {
 public:
  virtual ~Party() = default;
  virtual std::string name() const = 0;
  // images: `count` of them, (H, W, C) bytes each.
  virtual BatchTensors run(const uint8_t* images, int64_t count) = 0;
};
using PartyPtr = std::unique_ptr<Party>;

// The model as `halftone eval` runs it, on its device. Throws when it does not make a value of the
// program.
PartyPtr training_party(Module& model, const CompiledProgram& compiled,
                        const ProgramSource& source);
// With the context's threads.
PartyPtr engine_party(const Context& context, std::shared_ptr<const runtime::Program> program,
                      const integer::Body& body);
PartyPtr oracle_party(const Context& context, std::shared_ptr<const runtime::Program> program,
                      const OracleRules& rules = {}, const std::string& name = "scalar oracle");

}  // namespace halftone
