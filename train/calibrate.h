// Data for quantizers whose ranges come from a trained network (ObserverQuantizer).
#pragma once

#include <functional>

#include "data/loader.h"
#include "quant/quantizer.h"

namespace halftone {

constexpr int kCalibrationImages = 100;  // where nobody says how many

// Of how many images the largest batch is.
int64_t calibration_batch(int images);

// The first `images` of the set in the random order of `seed`, unaugmented, so that a set sorted by
// class gives all of them. Throws, in the name of `op`, when the set has fewer.
std::vector<Tensor> calibration_batches(const Context& context,
                                        const std::shared_ptr<const Dataset>& set, int images,
                                        int seed, const std::string& op);

// Runs them through the model in evaluation mode, which the quantizer records. progress: images
// done, of how many.
void calibrate(Module& model, const std::vector<Tensor>& batches,
               const std::function<void(int64_t done, int64_t total)>& progress);

}  // namespace halftone
