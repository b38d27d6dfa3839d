// A folder of pictures, one sub-folder per class (torchvision's ImageFolder).
#pragma once

#include "data/dataset.h"

namespace halftone {

// Classes are the sub-folders of data_dir/train, sorted by name, for both splits: data_dir/test (or
// data_dir/val) may lack some, but one of its own is an Error. Samples are the .jpg, .jpeg and .png
// files below the classes' folders (links are followed), sorted.
// options.resize and options.crop are applied in this order; what comes out must be of one size.
// mean and stddev are ImageNet's, as torchvision's models have them. options.limit takes
// samples spread evenly over the sorted list, and decodes no others. Decodes on the context's
// threads.
Dataset load_image_folder(const Context& context, Split split, const DatasetOptions& options);

}  // namespace halftone
