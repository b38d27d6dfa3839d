// The ten digits as pen strokes, in the ways people write them.
#pragma once

#include <vector>

namespace halftone {

// x to the right, y down.
struct Point {
  float x, y;
};
inline Point operator+(Point a, Point b) { return {a.x + b.x, a.y + b.y}; }
inline Point operator-(Point a, Point b) { return {a.x - b.x, a.y - b.y}; }
inline Point operator*(float s, Point p) { return {s * p.x, s * p.y}; }

// In units where a digit is 100 high (y 0 to 100) and centred about x = 0.
struct Stroke {
  bool smooth;  // a Catmull-Rom curve through the points; otherwise straight lines
  std::vector<Point> points;
};
using Glyph = std::vector<Stroke>;

// Variants of a digit 0..9, at least four each.
const std::vector<Glyph>& digit_glyphs(int digit);

}  // namespace halftone
