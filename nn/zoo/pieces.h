// Short forms for the builders of the zoo.
#pragma once

#include "nn/layers.h"

namespace halftone {

struct ConvShape {
  int in, out;
  int kernel = 3, stride = 1, padding = 1, groups = 1;
  bool bias = false;
};

ModulePtr make_conv(const Context& context, const ConvShape& shape);
ModulePtr make_batch_norm2d(const Context& context, int channels, float eps = 1e-5f);
ModulePtr make_batch_norm1d(const Context& context, int features, bool affine = true);
ModulePtr make_linear(const Context& context, int in, int out, bool bias = true);
ModulePtr make_max_pool(const Context& context);  // 2 x 2

}  // namespace halftone
