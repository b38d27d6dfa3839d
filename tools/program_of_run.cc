#include "tools/program_of_run.h"

#include "data/augment.h"

namespace halftone::tools {

RunProgram compile_run(const EvaluateRequest& request, const std::string& op) {
  RunProgram p;
  EvaluateRequest named = request;
  named.op = op;
  p.run = load_run(named);
  const Network& network = p.run.network;
  if (network.quantizer == nullptr) {
    throw HALFTONE_ERROR(op)
        .at(request.path)
        .expected("a run with a quantizer")
        .found("a network in float")
        .fix("train with a quantizer section in the recipe, or use halftone quantize");
  }
  p.source = {network.model.name, network.model.input_shape, normalisation_table(*p.run.data)};
  p.compiled = compile_program(*network.quantizer, p.source);
  return p;
}

}  // namespace halftone::tools
