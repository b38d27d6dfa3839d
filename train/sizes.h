// What has to be stored to run a network.
#pragma once

#include "nn/module.h"

namespace halftone {

struct NetworkSizes {
  int64_t parameters = 0, fp32_bytes = 0;
  int64_t quantized_bytes = 0;  // weights in their bits; the rest as far as no chain folds it
};
NetworkSizes measure_sizes(Module& model);

}  // namespace halftone
