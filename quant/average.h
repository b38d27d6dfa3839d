// Average pooling of codes, as one operation with the quantizer behind it. Inside //quant and
// //deploy only.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/epilogue.h"
#include "quant/chain.h"

namespace halftone {

// avg_pool2d or adaptive_avg_pool2d, then its own output quantizer, or [flatten] - input quantizer
// of a layer. Over windows of n codes each, evaluation computes
//   code = clamp(rint(fl(fl(sum (q - z_x)) m)), lo - z, hi - z) + z,   m = fl(s_x / fl(s_y n)).
// Training passes the means of the exact sums on, as reals: a Dropout may stand before the
// quantizer, which observes what it lets through.
struct Average {
  Module* pool = nullptr;                // owns this through its executor
  std::shared_ptr<FakeQuantize> output;  // which stays in its slot
  std::shared_ptr<TreeWatch> tree;
};
using AveragePtr = std::shared_ptr<Average>;

// The windows of an average pooling over images of this shape: an AdaptiveAvgPool2d's as those of
// an AvgPool2d. Nothing for any other module, and where windows do not count the same number of
// values: adaptive ones that do not divide the image, ceil_mode past its end, padding that is not
// counted.
std::optional<Pool2dOptions> equal_windows(const Module& pool, const Shape& image);

// A module's own output quantizer; null where it has none.
using OutputOf = std::function<std::shared_ptr<FakeQuantize>(const std::string& path)>;

// The averages of a traced model with equal windows and a quantizer behind them whose codes an
// epilogue can compute: their own, or, of an only reader among `chains`, its input's.
std::vector<AveragePtr> find_averages(Module& model, const Graph& graph,
                                      const std::vector<ChainPtr>& chains,
                                      const OutputOf& output_of);

// Sets the executor. An input that is no codes is averaged as floats.
void install(const AveragePtr& average);

// m of windows of `count` codes on the grid x.
float average_multiplier(const QuantParams& x, const QuantParams& y, int64_t count);

}  // namespace halftone
