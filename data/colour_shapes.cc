#include "data/colour_shapes.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace halftone {
namespace {

struct Vertex {
  float x, y;
};

float disc(float x, float y, float radius) { return std::sqrt(x * x + y * y) - radius; }

// Even-odd polygon; distance to its nearest edge (Inigo Quilez, "2D distance functions").
template <size_t N>
float polygon(const std::array<Vertex, N>& v, float x, float y) {
  float nearest = 1e9f;
  bool inside = false;
  for (size_t i = 0, j = N - 1; i < N; j = i++) {
    const float ex = v[j].x - v[i].x, ey = v[j].y - v[i].y, wx = x - v[i].x, wy = y - v[i].y;
    const float along = (wx * ex + wy * ey) / (ex * ex + ey * ey);
    const float t = std::min(std::max(along, 0.0f), 1.0f);
    const float dx = wx - t * ex, dy = wy - t * ey;
    nearest = std::min(nearest, dx * dx + dy * dy);
    const bool crosses = (v[i].y > y) != (v[j].y > y);
    if (crosses && x < ex * wy / ey + v[i].x) inside = !inside;
  }
  return inside ? -std::sqrt(nearest) : std::sqrt(nearest);
}

constexpr std::array<Vertex, 4> kSquare = {
    {{-0.78f, -0.78f}, {0.78f, -0.78f}, {0.78f, 0.78f}, {-0.78f, 0.78f}}};
constexpr std::array<Vertex, 3> kTriangle = {{{0, -0.95f}, {0.95f, 0.7f}, {-0.95f, 0.7f}}};
constexpr std::array<Vertex, 12> kCross = {{{-0.28f, -0.95f},
                                            {0.28f, -0.95f},
                                            {0.28f, -0.28f},
                                            {0.95f, -0.28f},
                                            {0.95f, 0.28f},
                                            {0.28f, 0.28f},
                                            {0.28f, 0.95f},
                                            {-0.28f, 0.95f},
                                            {-0.28f, 0.28f},
                                            {-0.95f, 0.28f},
                                            {-0.95f, -0.28f},
                                            {-0.28f, -0.28f}}};
// Five points at radius 1, five notches at 0.42.
constexpr std::array<Vertex, 10> kStar = {{{0, -1},
                                           {0.247f, -0.340f},
                                           {0.951f, -0.309f},
                                           {0.399f, 0.130f},
                                           {0.588f, 0.809f},
                                           {0, 0.420f},
                                           {-0.588f, 0.809f},
                                           {-0.399f, 0.130f},
                                           {-0.951f, -0.309f},
                                           {-0.247f, -0.340f}}};
constexpr std::array<Vertex, 7> kArrow = {{{0, -1},
                                           {0.8f, -0.1f},
                                           {0.3f, -0.1f},
                                           {0.3f, 0.95f},
                                           {-0.3f, 0.95f},
                                           {-0.3f, -0.1f},
                                           {-0.8f, -0.1f}}};
constexpr std::array<Vertex, 6> kBowTie = {
    {{-0.95f, -0.7f}, {0, -0.15f}, {0.95f, -0.7f}, {0.95f, 0.7f}, {0, 0.15f}, {-0.95f, 0.7f}}};
constexpr std::array<Vertex, 3> kHeartTip = {{{-0.87f, -0.05f}, {0.87f, -0.05f}, {0, 0.95f}}};

float ring(float x, float y) { return std::abs(disc(x, y, 0.68f)) - 0.22f; }

float crescent(float x, float y) {
  return std::max(disc(x, y, 0.95f), -disc(x - 0.42f, y - 0.1f, 0.75f));
}

float heart(float x, float y) {
  const float lobes = disc(std::abs(x) - 0.45f, y + 0.3f, 0.5f);
  return std::min(lobes, polygon(kHeartTip, x, y));
}

}  // namespace

std::vector<std::string> colour_shape_names() {
  return {"disc", "square",   "triangle", "cross", "ring",
          "star", "crescent", "heart",    "arrow", "bow tie"};
}

float shape_distance(int shape, float x, float y) {
  switch (shape) {
    case 0:
      return disc(x, y, 0.9f);
    case 1:
      return polygon(kSquare, x, y);
    case 2:
      return polygon(kTriangle, x, y);
    case 3:
      return polygon(kCross, x, y);
    case 4:
      return ring(x, y);
    case 5:
      return polygon(kStar, x, y);
    case 6:
      return crescent(x, y);
    case 7:
      return heart(x, y);
    case 8:
      return polygon(kArrow, x, y);
    default:
      return polygon(kBowTie, x, y);
  }
}

}  // namespace halftone
