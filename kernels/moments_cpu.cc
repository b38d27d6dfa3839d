#include <cmath>

#include "kernels/check.h"
#include "kernels/grid_walk.h"
#include "kernels/moments.h"

namespace halftone::kernels {
namespace {

struct Sums {
  double sum = 0, magnitudes = 0, squares = 0;
  void operator+=(const Sums& other) {
    sum += other.sum;
    magnitudes += other.magnitudes;
    squares += other.squares;
  }
};

// Element i goes to lane i % lanes.
void add(const float* x, int64_t count, Sums* sums, int64_t lanes) {
  for (int64_t i = 0; i < count; i += lanes) {
    const int64_t n = std::min(lanes, count - i);
    for (int64_t j = 0; j < n; ++j) {
      const double v = static_cast<double>(x[i + j]);
      sums[j] += Sums{v, std::fabs(v), v * v};
    }
  }
}

}  // namespace

double Moments::deviation() const {
  const double m = mean(), variance = sum_squares / static_cast<double>(count) - m * m;
  return variance > 0 ? std::sqrt(variance) : 0.0;
}

std::vector<Moments> moments(const Tensor& x, int axis) {
  check_dtype("moments", "input", x, DType::kFloat32);
  const size_t channels = axis < 0 ? 1 : static_cast<size_t>(x.dim(axis));
  const GridWalk walk("moments", x, axis, channels);
  const int64_t lanes = walk.tiled ? walk.width : 8;
  std::vector<Sums> partial(walk.pieces * lanes);
  const float* values = x.data<float>();
  walk.for_pieces(x.context(), [&](int64_t p, int64_t, int64_t begin, int64_t end) {
    add(values + begin, end - begin, &partial[p * lanes], lanes);
  });
  std::vector<Sums> sums(channels);
  for (int64_t p = 0; p < walk.pieces; ++p) {
    for (int64_t j = 0; j < lanes; ++j) {
      const int64_t c = (walk.tiled ? j : p / walk.parts) % walk.channels;
      sums[c] += partial[p * lanes + j];
    }
  }
  std::vector<Moments> out;
  const int64_t count = channels > 0 ? x.numel() / static_cast<int64_t>(channels) : 0;
  for (const Sums& s : sums) out.push_back({count, s.sum, s.magnitudes, s.squares});
  return out;
}

}  // namespace halftone::kernels
