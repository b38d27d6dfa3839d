// A stand-in for MNIST that needs no files: digits drawn from stroke models.
#pragma once

#include "data/dataset.h"

namespace halftone {

// 28x28, white on black; 60,000 training and 10,000 test images unless options.limit says another
// number (samples do not depend on it). Sample i of a split is a pure function of (seed, split, i):
// a handwriting variant of its digit, warped elastically and affinely, drawn with a pen of random
// width, blurred, with noise. Uses only IEEE + - * / sqrt, so every machine gets the same bytes.
Dataset make_generated_digits(const Context& context, Split split, const DatasetOptions& options);

}  // namespace halftone
