// JPEG and PNG files made in memory.
#pragma once

#include "test/data/files.h"

namespace halftone::test {

// samples: height * width * channels bytes; channels 1 (grey), 3 (RGB) or 4 (CMYK as Adobe's
// programs write it: inverted). Quality 100.
Bytes jpeg(int height, int width, int channels, const Bytes& samples, bool progressive = false);

// color_type and bit_depth as libpng names them; rows: packed as PNG wants them. With a palette
// (RGB triples) and the alpha values of its first entries.
struct PngOptions {
  int color_type;
  int bit_depth = 8;
  Bytes palette = {}, palette_alpha = {};
  bool interlaced = false;
};
Bytes png(int height, int width, const PngOptions& options, const std::vector<Bytes>& rows);

// A plain RGB PNG of one colour.
Bytes plain_png(int height, int width, uint8_t red, uint8_t green, uint8_t blue);

}  // namespace halftone::test
