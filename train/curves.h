// Learning curves as a picture.
#pragma once

#include <string>
#include <vector>

#include "train/metrics.h"

namespace halftone {

// An SVG of two panels over epochs: loss (logarithmic), and error in percent (logarithmic) on
// training batches and test set. `quantized_from` (epochs; negative: never) marks where
// quantization began.
std::string draw_curves(const std::string& title, const std::vector<MetricsRow>& rows,
                        double quantized_from);

}  // namespace halftone
