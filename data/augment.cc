#include "data/augment.h"

#include <algorithm>
#include <cstring>

namespace halftone {
namespace {

// Columns [begin, end) of the result that look inside the image.
struct Inside {
  int64_t begin, end;
};

Inside inside(int64_t extent, int shift) {
  return {std::max<int64_t>(0, -shift), std::min<int64_t>(extent, extent - shift)};
}

// Calls pixel(source byte offset or -1, destination offset) for whole pixels of a flipped or
// shifted sample, row by row.
template <class Pixel>
void for_each_pixel(const SampleShape& s, const SampleDraw& draw, Pixel pixel) {
  const Inside rows = inside(s.height, draw.shift_y), columns = inside(s.width, draw.shift_x);
  for (int64_t y = 0; y < s.height; ++y) {
    const bool row_in = y >= rows.begin && y < rows.end;
    for (int64_t x = 0; x < s.width; ++x) {
      const bool in = row_in && x >= columns.begin && x < columns.end;
      const int64_t from = ((y + draw.shift_y) * s.width + x + draw.shift_x) * s.channels;
      const int64_t to = (y * s.width + (draw.flip ? s.width - 1 - x : x)) * s.channels;
      pixel(in ? from : -1, to);
    }
  }
}

bool moves(const SampleDraw& draw) { return draw.flip || draw.shift_x != 0 || draw.shift_y != 0; }

}  // namespace

SampleDraw draw_sample(const Augmentation& augmentation, uint64_t seed, int64_t epoch,
                       int64_t sample) {
  return draw_shift_and_flip(augmentation.pad, augmentation.flip, seed,
                             static_cast<uint64_t>(epoch), static_cast<uint64_t>(sample));
}

std::vector<float> normalisation_table(const Dataset& dataset) {
  std::vector<float> table;
  for (size_t c = 0; c < dataset.mean.size(); ++c) {
    for (int v = 0; v < 256; ++v) {
      const float unit = static_cast<float>(v) / 255.0f;
      table.push_back((unit - dataset.mean[c]) / dataset.stddev[c]);
    }
  }
  return table;
}

void move_bytes(const uint8_t* in, const SampleShape& s, const SampleDraw& draw, uint8_t* out) {
  const size_t channels = static_cast<size_t>(s.channels);
  if (!moves(draw)) {
    std::memcpy(out, in, static_cast<size_t>(s.height * s.width) * channels);
    return;
  }
  for_each_pixel(s, draw, [&](int64_t from, int64_t to) {
    if (from < 0) {
      std::memset(out + to, 0, channels);
    } else {
      std::memcpy(out + to, in + from, channels);
    }
  });
}

void move_normalised(const uint8_t* in, const SampleShape& s, const SampleDraw& draw,
                     const float* table, float* out) {
  if (!moves(draw) && s.channels == 1) {
    for (int64_t i = 0; i < s.height * s.width; ++i) out[i] = table[in[i]];
    return;
  }
  for_each_pixel(s, draw, [&](int64_t from, int64_t to) {
    for (int64_t c = 0; c < s.channels; ++c) {
      out[to + c] = table[256 * c + (from < 0 ? 0 : in[from + c])];
    }
  });
}

}  // namespace halftone
