// What a convolution or a pooling sees of an image. Images are (H, W, C), channels innermost.
#pragma once

#include <stdint.h>

namespace halftone::integer {

struct Image {
  int32_t height = 1, width = 1, channels = 1;
  int64_t size() const { return int64_t{1} * height * width * channels; }
};

struct Window {
  int32_t kernel_h = 1, kernel_w = 1;
  int32_t stride_h = 1, stride_w = 1;
  int32_t pad_h = 0, pad_w = 0;
  int32_t dilation_h = 1, dilation_w = 1;
  int64_t taps() const { return int64_t{1} * kernel_h * kernel_w; }
};

}  // namespace halftone::integer
