// Loss and accuracy over a whole set.
#pragma once

#include <functional>

#include "data/loader.h"
#include "nn/losses.h"
#include "nn/module.h"

namespace halftone {

struct Evaluation {
  double loss = 0;      // mean over samples
  double accuracy = 0;  // 0..1; equal logits: the lowest class counts
  int64_t images = 0;
};

// Images done, of how many.
using OnProgress = std::function<void(int64_t done, int64_t total)>;

// One pass over the set in its order, in evaluation mode and without gradients; the model's mode is
// restored.
Evaluation evaluate(Module& model, const std::shared_ptr<const Dataset>& dataset,
                    int64_t batch_size, const Loss& loss, const OnProgress& progress = {});

}  // namespace halftone
