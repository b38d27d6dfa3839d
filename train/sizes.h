// What has to be stored to run a network.
#pragma once

#include "quant/quantizer.h"

namespace halftone {

struct NetworkSizes {
  int64_t parameters = 0, fp32_bytes = 0;
  // Weights in their bits, beside each integer layer an int32 bias and a float32 multiplier per
  // output channel; batch norms where no integer layer has taken them in.
  int64_t quantized_bytes = 0;
};
// quantizer: null in float.
NetworkSizes measure_sizes(Module& model, const Quantizer* quantizer);

}  // namespace halftone
