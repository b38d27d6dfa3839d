// What the cases of single layers share.
#pragma once

#include "nn/optimizer.h"
#include "quant/quantizer.h"

namespace halftone::golden {

// A model under NNI's formulas, without a graph: every layer quantizes for itself, as NNI's do.
std::unique_ptr<Quantizer> quantize_as_nni(const std::string& name, Module& model,
                                           const ConfigList& config_list,
                                           Optimizer* optimizer = nullptr);
// The parameter of this name.
Variable parameter(Module& model, const std::string& name);

}  // namespace halftone::golden
