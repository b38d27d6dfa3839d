// Global average pooling of codes, as one operation with the quantizer behind it. Inside //quant
// and
// //deploy only.
#pragma once

#include <memory>
#include <vector>

#include "kernels/epilogue.h"
#include "quant/chain.h"

namespace halftone {

// adaptive_avg_pool2d(1) - [flatten] - input quantizer of a layer. Evaluation computes
//   code = clamp(rint(fl(fl(sum (q - z_x)) m)), lo - z, hi - z) + z,   m = fl(s_x / fl(s_y H W)).
// Training passes the means of the exact sums on, as reals: a Dropout may stand before the
// quantizer, which observes what it lets through.
struct Average {
  AdaptiveAvgPool2d* pool = nullptr;     // owns this through its executor
  std::shared_ptr<FakeQuantize> output;  // the layer's input quantizer, which stays in its slot
  std::shared_ptr<TreeWatch> tree;
};
using AveragePtr = std::shared_ptr<Average>;

// The averages of a traced model whose only reader is one of `chains`, with a quantizer whose codes
// an epilogue can compute.
std::vector<AveragePtr> find_averages(Module& model, const Graph& graph,
                                      const std::vector<ChainPtr>& chains);

// Sets the executor. An input that is no codes is averaged as floats.
void install(const AveragePtr& average);

// m of an image of `pixels` codes on the grid x.
float average_multiplier(const QuantParams& x, const QuantParams& y, int64_t pixels);

}  // namespace halftone
