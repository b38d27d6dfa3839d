// A small grey canvas and a round pen.
#pragma once

#include <array>
#include <cstddef>

#include "data/digit_glyphs.h"

namespace halftone {

// Pixel (row, column) has its centre at (x, y) = (column, row); ink is in 0..1.
class Canvas {
 public:
  static constexpr int kSize = 28;
  // A line from a to b with a pen of radius ra .. rb (pixels), edges one pixel soft. Ink does not
  // add up where strokes cross: the darker wins.
  void draw_line(Point a, Point b, float ra, float rb);
  // share * (3x3 binomial blur) + (1 - share) * ink; what leaves the canvas is lost.
  void blur(float share);

  float at(int row, int column) const { return ink_[static_cast<size_t>(row * kSize + column)]; }

 private:
  float& ink(int row, int column) { return ink_[static_cast<size_t>(row * kSize + column)]; }
  std::array<float, kSize * kSize> ink_{};
};

}  // namespace halftone
