// MNIST and Fashion-MNIST from their four IDX files.
#pragma once

#include "data/dataset.h"

namespace halftone {

// Looks in data_folders(NAME, data_dir); names as published (train-images-idx3-ubyte) or with
// a dot (train-images.idx3-ubyte), plain or .gz.
Dataset load_mnist(const Context& context, Split split, const std::string& data_dir);
Dataset load_fashion_mnist(const Context& context, Split split, const std::string& data_dir);

}  // namespace halftone
