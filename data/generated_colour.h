// A stand-in for CIFAR-10 that needs no files: ten shapes in any colour.
#pragma once

#include "data/dataset.h"

namespace halftone {

// 32x32 RGB; 50,000 training and 10,000 test images unless options.limit says another number
// (samples do not depend on it). The label is the shape alone: colours, fillings, background,
// clutter, lighting, place, size and turn are drawn without regard to it. Sample i of a split is a
// pure function of (seed, split, i), the same bytes on every machine.
Dataset make_generated_colour(const Context& context, Split split, const DatasetOptions& options);

}  // namespace halftone
