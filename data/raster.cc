#include "data/raster.h"

#include <algorithm>
#include <cmath>

namespace halftone {
namespace {

// First and last pixel that a pen touches between p and q.
int first_pixel(float p, float q, float radius) {
  return std::max(0, static_cast<int>(std::min(p, q) - radius - 0.5f));
}
int last_pixel(float p, float q, float radius) {
  return std::min(Canvas::kSize - 1, static_cast<int>(std::max(p, q) + radius + 1.5f));
}

}  // namespace

void Canvas::draw_line(Point a, Point b, float ra, float rb) {
  const Point d = b - a;
  const float length2 = std::max(d.x * d.x + d.y * d.y, 1e-6f);
  const float widest = std::max(ra, rb);
  const int top = first_pixel(a.y, b.y, widest), bottom = last_pixel(a.y, b.y, widest);
  const int left = first_pixel(a.x, b.x, widest), right = last_pixel(a.x, b.x, widest);
  for (int row = top; row <= bottom; ++row) {
    for (int column = left; column <= right; ++column) {
      const Point p = {static_cast<float>(column) - a.x, static_cast<float>(row) - a.y};
      const float along = std::min(std::max((p.x * d.x + p.y * d.y) / length2, 0.0f), 1.0f);
      const Point off = p - along * d;
      const float distance = std::sqrt(off.x * off.x + off.y * off.y);
      const float cover = ra + along * (rb - ra) + 0.5f - distance;
      float& pixel = ink(row, column);
      pixel = std::max(pixel, std::min(cover, 1.0f));
    }
  }
}

void Canvas::blur(float share) {
  const std::array<float, kSize* kSize> sharp = ink_;
  const auto get = [&](int row, int column) {
    const bool in = row >= 0 && row < kSize && column >= 0 && column < kSize;
    return in ? sharp[static_cast<size_t>(row * kSize + column)] : 0.0f;
  };
  const auto across = [&](int row, int column) {
    return 0.25f * (get(row, column - 1) + get(row, column + 1)) + 0.5f * get(row, column);
  };
  for (int row = 0; row < kSize; ++row) {
    for (int column = 0; column < kSize; ++column) {
      const float soft =
          0.25f * (across(row - 1, column) + across(row + 1, column)) + 0.5f * across(row, column);
      ink(row, column) += share * (soft - ink(row, column));
    }
  }
}

}  // namespace halftone
