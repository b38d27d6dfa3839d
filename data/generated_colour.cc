#include "data/generated_colour.h"

#include <algorithm>
#include <cmath>

#include "data/colour_shapes.h"
#include "data/sample_labels.h"
#include "data/sample_random.h"
#include "kernels/parallel.h"

namespace halftone {
namespace {

constexpr int kSide = 32;
constexpr uint64_t kColourKey = 0x636f6c6f'75727321;
constexpr uint64_t kLabelKey = 0x636f6c6f'75727322;

struct Rgb {
  float r, g, b;  // 0..1
};

Rgb mix(Rgb a, Rgb b, float share) {
  return {a.r + share * (b.r - a.r), a.g + share * (b.g - a.g), a.b + share * (b.b - a.b)};
}

float difference(Rgb a, Rgb b) {
  return std::abs(a.r - b.r) + std::abs(a.g - b.g) + std::abs(a.b - b.b);
}

Rgb random_colour(SampleRandom& random) {
  return {random.uniform(), random.uniform(), random.uniform()};
}

// A random colour that stands out from `other`; the last of eight tries if none does.
Rgb random_colour_unlike(SampleRandom& random, Rgb other) {
  Rgb colour = random_colour(random);
  for (int i = 0; i < 7 && difference(colour, other) < 0.75f; ++i) colour = random_colour(random);
  return colour;
}

// Two colours over the plane: plain, a ramp, stripes or a checkerboard.
class Pattern {
 public:
  Pattern(SampleRandom& random, Rgb colour, float contrast)
      : a_(colour),
        b_(mix(colour, random_colour(random), contrast)),
        kind_(random.below(4)),
        fx_(random.uniform(-0.22f, 0.22f)),
        fy_(random.uniform(-0.22f, 0.22f)),
        phase_(random.uniform()) {}

  Rgb at(float x, float y) const {
    const float u = x * fx_ + y * fy_ + phase_, v = x * fy_ - y * fx_ + phase_;
    if (kind_ == 0) return a_;
    if (kind_ == 1) return mix(a_, b_, std::min(std::max(0.5f + 0.25f * u, 0.0f), 1.0f));
    const bool first = u - std::floor(u) < 0.5f;
    if (kind_ == 2) return first ? a_ : b_;
    return first == (v - std::floor(v) < 0.5f) ? a_ : b_;
  }

 private:
  Rgb a_, b_;
  int kind_;
  float fx_, fy_, phase_;  // periods per pixel
};

// Where a shape lies: pixels to shape units.
struct Pose {
  float x, y, radius, stretch, cosine, sine;

  // Signed distance in pixels (about, when stretched).
  float distance(int shape, float px, float py) const {
    const float dx = (px - x) / radius, dy = (py - y) / radius;
    return radius *
           shape_distance(shape, (cosine * dx + sine * dy) * stretch, cosine * dy - sine * dx);
  }
};

Pose random_pose(SampleRandom& random) {
  Pose pose;
  pose.radius = random.uniform(7.0f, 12.0f);
  const float room = 16.5f - pose.radius;  // up to a pixel may stick out
  pose.x = 15.5f + random.uniform(-room, room);
  pose.y = 15.5f + random.uniform(-room, room);
  pose.stretch = random.uniform(0.85f, 1.18f);
  const float t = random.uniform(-0.22f, 0.22f);  // tangent of half the angle: up to 25 degrees
  pose.cosine = (1.0f - t * t) / (1.0f + t * t);
  pose.sine = 2.0f * t / (1.0f + t * t);
  return pose;
}

class Picture {
 public:
  explicit Picture(const Pattern& background) {
    for_each([&](int x, int y) {
      at(x, y) = background.at(static_cast<float>(x), static_cast<float>(y));
    });
  }

  // distance(x, y) in pixels, negative inside; edges one pixel soft.
  template <class Distance>
  void paint(const Pattern& pattern, float opacity, Distance distance) {
    for_each([&](int x, int y) {
      const float px = static_cast<float>(x), py = static_cast<float>(y);
      const float cover = std::min(std::max(0.5f - distance(px, py), 0.0f), 1.0f);
      if (cover > 0.0f) at(x, y) = mix(at(x, y), pattern.at(px, py), cover * opacity);
    });
  }

  // Light falls off along a random direction; then noise, then bytes.
  void store(SampleRandom& random, uint8_t* bytes) const {
    const float base = random.uniform(0.75f, 1.1f), noise = random.uniform(2.0f, 12.0f);
    const float lx = random.uniform(-0.014f, 0.014f), ly = random.uniform(-0.014f, 0.014f);
    for_each([&](int x, int y) {
      const float light = 255.0f * (base + lx * (static_cast<float>(x) - 15.5f) +
                                    ly * (static_cast<float>(y) - 15.5f));
      const Rgb colour = at(x, y);
      uint8_t* out = bytes + (y * kSide + x) * 3;
      for (float value : {colour.r, colour.g, colour.b}) {
        const float level = light * value + random.uniform(-noise, noise) + 0.5f;
        *out++ = static_cast<uint8_t>(std::min(std::max(level, 0.0f), 255.0f));
      }
    });
  }

 private:
  template <class Pixel>
  static void for_each(Pixel pixel) {
    for (int y = 0; y < kSide; ++y) {
      for (int x = 0; x < kSide; ++x) pixel(x, y);
    }
  }
  Rgb& at(int x, int y) { return pixels_[y * kSide + x]; }
  Rgb at(int x, int y) const { return pixels_[y * kSide + x]; }
  Rgb pixels_[kSide * kSide];
};

// A thin bar or a blot, anywhere.
void paint_clutter(Picture& picture, SampleRandom& random, float opacity) {
  const Pattern pattern(random, random_colour(random), 0.3f);
  const float x = random.uniform(0.0f, 32.0f), y = random.uniform(0.0f, 32.0f);
  const float nx = random.uniform(-1.0f, 1.0f), ny = random.chance(0.5f) ? 0.7f : -0.7f;
  const float norm = std::sqrt(nx * nx + ny * ny);
  const float length = random.uniform(1.0f, 9.0f), width = random.uniform(0.4f, 1.5f);
  picture.paint(pattern, opacity, [&](float px, float py) {
    const float along = ((px - x) * ny - (py - y) * nx) / norm;
    const float across = ((px - x) * nx + (py - y) * ny) / norm;
    return std::max(std::abs(along) - length, std::abs(across) - width);
  });
}

void draw_picture(int shape, SampleRandom& random, uint8_t* bytes) {
  const Rgb ground = random_colour(random);
  Picture picture(Pattern(random, ground, 0.3f));
  for (int i = random.below(5); i > 0; --i) paint_clutter(picture, random, 0.6f);
  const Pattern filling(random, random_colour_unlike(random, ground), 0.35f);
  const Pose pose = random_pose(random);
  picture.paint(filling, random.uniform(0.85f, 1.0f),
                [&](float x, float y) { return pose.distance(shape, x, y); });
  for (int i = random.below(3); i > 0; --i) paint_clutter(picture, random, 0.8f);
  picture.store(random, bytes);
}

}  // namespace

Dataset make_generated_colour(const Context& context, Split split, const DatasetOptions& options) {
  constexpr int64_t kBytes = kSide * kSide * 3;
  Dataset set;
  set.name = "generated-colour";
  set.split = split;
  set.classes = colour_shape_names();
  set.mean = {0.462f, 0.462f, 0.462f};
  set.stddev = {0.247f, 0.247f, 0.247f};
  const int64_t count = options.limit > 0 ? options.limit : split == Split::kTrain ? 50000 : 10000;
  set.images = Tensor::empty(context, {count, kSide, kSide, 3}, DType::kUInt8);
  set.labels.resize(static_cast<size_t>(count));
  const uint64_t which = split == Split::kTrain ? 0 : 1;
  uint8_t* bytes = set.images.data<uint8_t>();
  parallel_for(context, count, 100, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t shape = balanced_label(options.seed ^ kLabelKey, which, i);
      SampleRandom random(options.seed ^ kColourKey, which << 40 | static_cast<uint64_t>(i));
      draw_picture(static_cast<int>(shape), random, bytes + i * kBytes);
      set.labels[static_cast<size_t>(i)] = shape;
    }
  });
  return set;
}

}  // namespace halftone
