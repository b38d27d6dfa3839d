#include "data/generated_digits.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "data/digit_glyphs.h"
#include "data/raster.h"
#include "data/sample_labels.h"
#include "data/sample_random.h"
#include "kernels/parallel.h"

namespace halftone {
namespace {

constexpr uint64_t kDigitKey = 0x64696769'74732121;
constexpr uint64_t kLabelKey = 0x64696769'74732122;

// How far samples stray from their glyph. Calibrated so that the set is as hard as MNIST: a linear
// classifier reaches 87.8 % (digits_hardness_test.cc), LeNet-5 99.36 % (the recipe
// lenet5_float.yaml, which reaches 99.3 % on MNIST). Whoever changes anything here measures again.
constexpr float kJitter = 2.8f;       // of each control point, in hundredths of a digit's height
constexpr float kStrokeShift = 1.8f;  // of each stroke as a whole
constexpr float kElastic = 7.5f;      // of the displacement field's nodes
constexpr float kSlant = 0.20f;       // shear
constexpr float kTurn = 0.11f;        // rotation, radians
constexpr float kAspect = 0.15f;      // relative width
constexpr float kOffset = 0.9f;       // pixels

// A smooth random displacement: a quadratic B-spline over a grid of random nodes.
class ElasticField {
 public:
  ElasticField(SampleRandom& random, float amplitude) {
    for (Point& node : nodes_) node = {random.normal(amplitude), random.normal(amplitude)};
  }

  Point at(Point p) const {
    const Span x = span((p.x + 50.0f) / kSpacing), y = span(p.y / kSpacing);
    Point sum = {0.0f, 0.0f};
    for (size_t j = 0; j < 3; ++j) {
      for (size_t i = 0; i < 3; ++i) {
        sum = sum + x.weight[i] * y.weight[j] * nodes_[(y.first + j) * kNodes + x.first + i];
      }
    }
    return sum;
  }

 private:
  static constexpr size_t kSpans = 2, kNodes = kSpans + 2;  // per axis of a glyph's 100 x 100 box
  static constexpr float kSpacing = 100.0f / kSpans;
  struct Span {
    size_t first;  // of three nodes
    std::array<float, 3> weight;
  };

  static Span span(float position) {
    const float inside = std::min(std::max(position, 0.0f), kSpans - 0.001f);
    const size_t first = static_cast<size_t>(inside);
    const float t = inside - static_cast<float>(first), u = 1.0f - t;
    return {first, {0.5f * u * u, 0.5f + t * u, 0.5f * t * t}};
  }

  std::array<Point, kNodes * kNodes> nodes_;
};

// Glyph units to pixels.
class Placement {
 public:
  Placement(SampleRandom& random, float sloppiness) {
    const float height = random.uniform(15.5f, 20.0f) / 100.0f;  // pixels per unit
    const float width = height * (1.0f + random.normal(kAspect));
    const float slant = random.normal(kSlant * sloppiness) - 0.08f;
    // Rotation by an angle with tangent-half t: no sine or cosine needed.
    const float t = 0.5f * random.normal(kTurn * sloppiness);
    const float cosine = (1.0f - t * t) / (1.0f + t * t), sine = 2.0f * t / (1.0f + t * t);
    const float xx = width, xy = slant * height, yy = height;  // scale, then shear
    xx_ = cosine * xx;
    xy_ = cosine * xy - sine * yy;
    yx_ = sine * xx;
    yy_ = sine * xy + cosine * yy;
    centre_ = {13.5f + random.normal(kOffset), 13.5f + random.normal(kOffset)};
  }

  Point operator()(Point p) const {
    const Point q = {p.x, p.y - 50.0f};
    return {centre_.x + xx_ * q.x + xy_ * q.y, centre_.y + yx_ * q.x + yy_ * q.y};
  }

 private:
  float xx_, xy_, yx_, yy_;
  Point centre_;
};

// Point at t in 0..1 between p[1] and p[2] of a uniform Catmull-Rom spline.
Point catmull_rom(const std::array<Point, 4>& p, float t) {
  const Point linear = 0.5f * (p[2] - p[0]);
  const Point quadratic = p[0] - 2.5f * p[1] + 2.0f * p[2] - 0.5f * p[3];
  const Point cubic = 0.5f * (p[3] - p[0]) + 1.5f * (p[1] - p[2]);
  return p[1] + t * (linear + t * (quadratic + t * cubic));
}

// The stroke as a fine polyline, its control points jittered.
std::vector<Point> trace_stroke(const Stroke& stroke, SampleRandom& random, float sloppiness) {
  constexpr int kSteps = 6;  // per span
  const Point shift = {random.normal(kStrokeShift), random.normal(kStrokeShift)};
  std::vector<Point> control;
  for (Point p : stroke.points) {
    const float jitter = kJitter * sloppiness;
    control.push_back(p + shift + Point{random.normal(jitter), random.normal(jitter)});
  }
  const size_t last = control.size() - 1;
  std::vector<Point> trace = {control[0]};
  for (size_t i = 0; i < last; ++i) {
    const std::array<Point, 4> p = {control[i == 0 ? 0 : i - 1], control[i], control[i + 1],
                                    control[std::min(i + 2, last)]};
    for (int step = 1; step <= kSteps; ++step) {
      const float t = static_cast<float>(step) / kSteps;
      trace.push_back(stroke.smooth ? catmull_rom(p, t) : p[1] + t * (p[2] - p[1]));
    }
  }
  return trace;
}

void draw_stroke(Canvas& canvas, const std::vector<Point>& trace, float radius,
                 SampleRandom& random) {
  const float from = radius * (1.0f + random.normal(0.10f));
  const float to = radius * (1.0f + random.normal(0.14f));
  const float count = static_cast<float>(trace.size() - 1);
  for (size_t i = 0; i + 1 < trace.size(); ++i) {
    const float a = static_cast<float>(i) / count, b = static_cast<float>(i + 1) / count;
    canvas.draw_line(trace[i], trace[i + 1], from + a * (to - from), from + b * (to - from));
  }
}

void store(const Canvas& canvas, SampleRandom& random, uint8_t* pixels) {
  const float ink = random.uniform(215.0f, 262.0f), noise = random.uniform(0.0f, 14.0f);
  for (int i = 0; i < Canvas::kSize * Canvas::kSize; ++i) {
    const float level = ink * canvas.at(i / Canvas::kSize, i % Canvas::kSize);
    const float value = level + random.uniform(-noise, noise);
    pixels[i] = static_cast<uint8_t>(std::min(std::max(value + 0.5f, 0.0f), 255.0f));
  }
}

void draw_digit(int digit, SampleRandom& random, uint8_t* pixels) {
  const std::vector<Glyph>& variants = digit_glyphs(digit);
  const Glyph& glyph =
      variants[static_cast<size_t>(random.below(static_cast<int>(variants.size())))];
  // Most writers are tidy, a few are not.
  const float u = random.uniform();
  const float sloppiness = 0.6f + 0.6f * u + 0.8f * u * u * u * u;
  const ElasticField field(random, kElastic * sloppiness);
  const Placement place(random, sloppiness);
  const float radius = random.uniform(0.65f, 1.75f);
  Canvas canvas;
  for (const Stroke& stroke : glyph) {
    std::vector<Point> trace = trace_stroke(stroke, random, sloppiness);
    for (Point& p : trace) p = place(p + field.at(p));
    draw_stroke(canvas, trace, radius, random);
  }
  canvas.blur(random.uniform(0.0f, 0.9f));
  store(canvas, random, pixels);
}

}  // namespace

Dataset make_generated_digits(const Context& context, Split split, const DatasetOptions& options) {
  constexpr int64_t kPixels = Canvas::kSize * Canvas::kSize;
  Dataset set;
  set.name = "generated-digits";
  set.split = split;
  set.classes = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
  set.mean = {0.1220f};
  set.stddev = {0.2621f};
  const int64_t count = options.limit > 0 ? options.limit : split == Split::kTrain ? 60000 : 10000;
  set.images = Tensor::empty(context, {count, Canvas::kSize, Canvas::kSize, 1}, DType::kUInt8);
  set.labels.resize(static_cast<size_t>(count));
  const uint64_t which = split == Split::kTrain ? 0 : 1;
  uint8_t* pixels = set.images.data<uint8_t>();
  parallel_for(context, count, 100, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t digit = balanced_label(options.seed ^ kLabelKey, which, i);
      SampleRandom random(options.seed ^ kDigitKey, which << 40 | static_cast<uint64_t>(i));
      draw_digit(static_cast<int>(digit), random, pixels + i * kPixels);
      set.labels[static_cast<size_t>(i)] = digit;
    }
  });
  return set;
}

}  // namespace halftone
