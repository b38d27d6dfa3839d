#include "data/generated_digits.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <numeric>

#include "data/digit_glyphs.h"
#include "data/raster.h"
#include "data/sample_random.h"
#include "kernels/parallel.h"

namespace halftone {
namespace {

constexpr uint64_t kDigitKey = 0x64696769'74732121;
constexpr uint64_t kLabelKey = 0x64696769'74732122;

// How far samples stray from their glyph. Calibrated so that a linear classifier and LeNet-5 find
// the set as hard as MNIST; see the targets in generated_digits.h's test.
constexpr float kJitter = 2.6f;       // of each control point, in hundredths of a digit's height
constexpr float kStrokeShift = 1.8f;  // of each stroke as a whole
constexpr float kElastic = 5.0f;      // of the displacement field's nodes
constexpr float kSlant = 0.22f;       // shear
constexpr float kTurn = 0.13f;        // rotation, radians
constexpr float kAspect = 0.15f;      // relative width
constexpr float kOffset = 1.3f;       // pixels

// A smooth random displacement: nodes on a grid, blended by smoothstep between them.
class ElasticField {
 public:
  ElasticField(SampleRandom& random, float amplitude) {
    for (Point& node : nodes_) node = {random.normal(amplitude), random.normal(amplitude)};
  }

  Point at(Point p) const {
    const Cell x = cell((p.x + 50.0f) / kSpacing), y = cell(p.y / kSpacing);
    const auto row = [&](int j) {
      return (1.0f - x.weight) * node(x.index, j) + x.weight * node(x.index + 1, j);
    };
    return (1.0f - y.weight) * row(y.index) + y.weight * row(y.index + 1);
  }

 private:
  static constexpr int kNodes = 4;  // per axis, over the 100 x 100 box of a glyph
  static constexpr float kSpacing = 100.0f / (kNodes - 1);
  struct Cell {
    int index;
    float weight;
  };

  static Cell cell(float position) {
    const float inside = std::min(std::max(position, 0.0f), kNodes - 1.001f);
    const int index = static_cast<int>(inside);
    const float t = inside - static_cast<float>(index);
    return {index, t * t * (3.0f - 2.0f * t)};
  }
  Point node(int i, int j) const { return nodes_[static_cast<size_t>(j * kNodes + i)]; }

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
  const float sloppiness = 0.6f + 0.7f * u + 0.5f * u * u * u * u;
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

// Every ten samples in a row hold each digit once, in a random order.
int64_t digit_of(uint64_t seed, uint64_t split, int64_t sample) {
  std::array<int64_t, 10> digits;
  std::iota(digits.begin(), digits.end(), 0);
  SampleRandom random(seed ^ kLabelKey, split << 40 | static_cast<uint64_t>(sample / 10));
  for (int left = 10; left > 1; --left) {
    std::swap(digits[static_cast<size_t>(left - 1)],
              digits[static_cast<size_t>(random.below(left))]);
  }
  return digits[static_cast<size_t>(sample % 10)];
}

}  // namespace

Dataset make_generated_digits(const Context& context, Split split, const DatasetOptions& options) {
  constexpr int64_t kPixels = Canvas::kSize * Canvas::kSize;
  Dataset set;
  set.name = "generated-digits";
  set.split = split;
  set.classes = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
  set.mean = {0.1307f};
  set.stddev = {0.3081f};
  const int64_t count = options.limit > 0 ? options.limit : split == Split::kTrain ? 60000 : 10000;
  set.images = Tensor::empty(context, {count, Canvas::kSize, Canvas::kSize, 1}, DType::kUInt8);
  set.labels.resize(static_cast<size_t>(count));
  const uint64_t which = split == Split::kTrain ? 0 : 1;
  uint8_t* pixels = set.images.data<uint8_t>();
  parallel_for(context, count, 100, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t digit = digit_of(options.seed, which, i);
      SampleRandom random(options.seed ^ kDigitKey, which << 40 | static_cast<uint64_t>(i));
      draw_digit(static_cast<int>(digit), random, pixels + i * kPixels);
      set.labels[static_cast<size_t>(i)] = digit;
    }
  });
  return set;
}

}  // namespace halftone
