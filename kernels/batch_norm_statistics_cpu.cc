#include <cmath>
#include <string>

#include "kernels/batch_norm.h"
#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/lanes.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kSample = 4;  // the first quarter of a chunk's rows makes the shift

// Adds row (`width` lanes) to sums.
inline void add_row(const float* row, int64_t width, float* sums) {
#pragma GCC ivdep
  for (int64_t j = 0; j < width; ++j) sums[j] += row[j];
}

// Per lane of one chunk: shift, sum(x - shift), sum((x - shift)^2); three arrays of `length`.
// The shift is the mean of a quarter of the values, hence (mean - shift)^2 <= 3 variance: the
// one pass cancels at most two bits, whatever the mean.
void lane_moments(const float* x, int64_t count, int64_t length, float* shift, float* first,
                  float* second) {
  const int64_t full = count / length, samples = (full + kSample - 1) / kSample;
  std::fill(shift, shift + 3 * length, 0.0f);
  for (int64_t r = 0; r < samples; ++r) add_row(x + r * length, length, shift);
  if (full == 0) add_row(x, count, shift);
  const float scale = 1.0f / static_cast<float>(std::max<int64_t>(1, samples));
  for (int64_t j = 0; j < length; ++j) shift[j] *= scale;
  int64_t r = 0;
  for (; r + 4 <= full; r += 4) {
    const float *a = x + r * length, *b = a + length, *c = b + length, *d = c + length;
#pragma GCC ivdep
    for (int64_t j = 0; j < length; ++j) {
      const float s = shift[j];
      const float p = a[j] - s, q = b[j] - s, u = c[j] - s, v = d[j] - s;
      first[j] += (p + q) + (u + v);
      second[j] += (p * p + q * q) + (u * u + v * v);
    }
  }
  for (; r * length < count; ++r) {
    const float* row = x + r * length;
    const int64_t width = std::min(length, count - r * length);
#pragma GCC ivdep
    for (int64_t j = 0; j < width; ++j) {
      const float a = row[j] - shift[j];
      first[j] += a;
      second[j] += a * a;
    }
  }
}

// Calls body(n, shift, first, second) for every chunk and every group of C lanes that hold n
// values each: all lanes of a group do, since a row's channels are never torn apart.
template <class Body>
void for_groups(const Lanes& lanes, const float* moments, Body body) {
  for (int64_t i = 0; i < lanes.chunks(); ++i) {
    const float* chunk = moments + i * 3 * lanes.length;
    const int64_t from = i * lanes.chunk, to = std::min(lanes.numel, from + lanes.chunk);
    for (int64_t j = 0; j < lanes.length; j += lanes.channels) {
      const int64_t n = lanes.count(from, to, j);
      if (n <= 0) break;
      body(static_cast<double>(n), chunk + j, chunk + lanes.length + j,
           chunk + 2 * lanes.length + j);
    }
  }
}

// The mean of all groups, then the sum of squares about it (Chan, Golub and LeVeque 1983, for many
// groups at once): sum (x - mean)^2 = second + 2 d first + n d^2 with d = shift - mean.
// Channels [begin, end); `scratch` holds 2 C doubles.
void combine(const Lanes& lanes, const float* moments, int64_t begin, int64_t end, double* scratch,
             float* mean, float* variance) {
  const double rows = static_cast<double>(lanes.numel / lanes.channels);
  double *centre = scratch, *squares = scratch + lanes.channels;
  std::fill(centre + begin, centre + end, 0.0);
  std::fill(squares + begin, squares + end, 0.0);
  for_groups(lanes, moments, [=](double n, const float* shift, const float* first, const float*) {
#pragma GCC ivdep
    for (int64_t c = begin; c < end; ++c) centre[c] += n * shift[c] + first[c];
  });
  for (int64_t c = begin; c < end; ++c) centre[c] /= rows;
  for_groups(lanes, moments,
             [=](double n, const float* shift, const float* first, const float* second) {
#pragma GCC ivdep
               for (int64_t c = begin; c < end; ++c) {
                 const double d = shift[c] - centre[c];
                 squares[c] += second[c] + d * (2.0 * first[c] + n * d);
               }
             });
  for (int64_t c = begin; c < end; ++c) {
    mean[c] = static_cast<float>(centre[c]);
    // Rounding can leave a constant channel a hair below 0; a NaN stays.
    variance[c] = static_cast<float>(squares[c] < 0.0 ? 0.0 : squares[c] / rows);
  }
}

}  // namespace

void batch_norm_statistics(const Tensor& x, Tensor& mean, Tensor& variance) {
  check_dtype("batch_norm", "input", x, DType::kFloat32);
  const int64_t channels = x.dim(-1);
  check_shape("batch_norm", "mean", mean, Shape{channels});
  check_shape("batch_norm", "variance", variance, Shape{channels});
  if (x.numel() == 0) {
    throw HALFTONE_ERROR("batch_norm")
        .expected("at least one value per channel")
        .found("input of shape " + nchw_text(x.shape()));
  }
  HALFTONE_ON_DEVICE(batch_norm_statistics, x, x, mean, variance);
  const Lanes lanes(x.numel(), channels);
  Tensor scratch = Tensor::empty(x.context(), Shape{lanes.chunks(), 3, lanes.length});
  float* moments = scratch.data<float>();
  const float* in = x.data<float>();
  for_chunks(x.context(), lanes.numel, lanes.chunk, [&](int64_t i, int64_t begin, int64_t end) {
    float* out = moments + i * 3 * lanes.length;
    lane_moments(in + begin, end - begin, lanes.length, out, out + lanes.length,
                 out + 2 * lanes.length);
  });
  float *mean_out = mean.data<float>(), *variance_out = variance.data<float>();
  DoubleScratch sums(x.context(), 2 * channels);
  double* scratch_sums = sums.data();
  parallel_for(x.context(), channels, 128, [&](int64_t begin, int64_t end) {
    combine(lanes, moments, begin, end, scratch_sums, mean_out, variance_out);
  });
}

namespace {

// What is not finite would stay in the running statistics.
void check_statistics(float mean, float variance, int64_t channel) {
  if (std::isfinite(mean) && std::isfinite(variance)) return;
  throw HALFTONE_ERROR("batch_norm")
      .expected("a batch whose mean and variance float32 can hold")
      .found("mean " + std::to_string(mean) + ", variance " + std::to_string(variance) +
             " in channel " + std::to_string(channel))
      .fix("normalise the data, and look whether the learning rate is too high");
}

}  // namespace

void batch_norm_update(const Tensor& mean, const Tensor& variance, int64_t count, float momentum,
                       Tensor& running_mean, Tensor& running_variance) {
  check_same("batch_norm", mean, running_mean);
  check_same("batch_norm", variance, running_variance);
  if (count < 2) {
    throw HALFTONE_ERROR("batch_norm")
        .expected("more than 1 value per channel when training")
        .found(std::to_string(count))
        .fix("use a larger batch, or evaluation mode");
  }
  HALFTONE_ON_DEVICE(batch_norm_update, mean, mean, variance, count, momentum, running_mean,
                     running_variance);
  const float unbias = static_cast<double>(count) / static_cast<double>(count - 1);
  const float *m = mean.data<float>(), *v = variance.data<float>();
  float *rm = running_mean.data<float>(), *rv = running_variance.data<float>();
  const float keep = 1.0f - momentum;
  for (int64_t c = 0; c < mean.numel(); ++c) check_statistics(m[c], v[c] * unbias, c);
  for (int64_t c = 0; c < mean.numel(); ++c) {
    rm[c] = keep * rm[c] + momentum * m[c];
    rv[c] = keep * rv[c] + momentum * (v[c] * unbias);
  }
}

}  // namespace halftone::kernels
