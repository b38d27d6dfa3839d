// CIFAR-10 and CIFAR-100, binary version (https://www.cs.toronto.edu/~kriz/cifar.html): records of
// one label byte (CIFAR-100: coarse, then fine) and 3 x 32 x 32 pixels, plane by plane. A file has
// 10,000 records (CIFAR-100's train.bin 50,000); one with fewer or more is an Error.
#pragma once

#include "data/dataset.h"

namespace halftone {

// Each looks in data_folders(NAME, data_dir) and in the archive's own folder there
// (cifar-10-batches-bin, cifar-100-binary).
Dataset load_cifar10(const Context& context, Split split, const std::string& data_dir);
// coarse: labels are the 20 super-classes.
Dataset load_cifar100(const Context& context, Split split, const std::string& data_dir,
                      bool coarse);

}  // namespace halftone
