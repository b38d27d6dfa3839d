// Resizing as torchvision's Resize and CenterCrop do on Pillow images.
#pragma once

#include "data/image.h"

namespace halftone {

// Bilinear with a triangle filter as wide as the shrinking asks for (antialiased): Pillow's
// ImagingResample, its fixed-point arithmetic and its rounding after each of the two passes, the
// horizontal first. (Pillow 13 takes the vertical pass first for some sizes; a few bytes then
// differ by one.)
Image resize_bilinear(const Image& image, int64_t height, int64_t width);

// The shorter side becomes `side`, the other keeps the ratio (truncated, as torchvision).
Image resize_shorter_side(const Image& image, int64_t side);

// The middle square; where the image is smaller, zeros fill.
Image centre_crop(const Image& image, int64_t side);

}  // namespace halftone
