#include "test/golden/run_layer.h"

namespace halftone::golden {

std::unique_ptr<Quantizer> quantize_as_nni(const std::string& name, Module& model,
                                           const ConfigList& config_list, Optimizer* optimizer) {
  QuantizerOptions options;
  options.nni = true;
  auto quantizer = make_quantizer(name, model, config_list, optimizer, {}, options);
  quantizer->compress();
  return quantizer;
}

Variable parameter(Module& model, const std::string& name) {
  for (auto& [path, variable] : model.named_parameters()) {
    if (path == name) return variable;
  }
  throw HALFTONE_ERROR("golden").at(name).expected("a parameter of this name").found("none");
}

}  // namespace halftone::golden
