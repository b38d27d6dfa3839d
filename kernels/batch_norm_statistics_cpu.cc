#include <cmath>
#include <string>

#include "kernels/batch_norm.h"
#include "kernels/check.h"
#include "kernels/lanes.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kSample = 1;  // of how many rows one makes the shift

// Per lane of one chunk: shift, sum(x - shift), sum((x - shift)^2); three arrays of `length`.
// The shift is the mean of an eighth of the values, hence (mean - shift)^2 <= 7 variance: the
// one pass cancels at most three bits, whatever the mean.
void lane_moments(const float* x, int64_t count, int64_t length, float* shift, float* first,
                  float* second) {
  const int64_t rows = chunk_count(count, length);
  std::fill(shift, shift + 3 * length, 0.0f);
  for (int64_t r = 0; r < rows; r += kSample) {
    const float* row = x + r * length;
    const int64_t width = std::min(length, count - r * length);
#pragma GCC ivdep
    for (int64_t j = 0; j < width; ++j) shift[j] += row[j];
  }
  const int64_t tail = count - (rows - 1) * length;  // lanes that the last row has
  const int64_t samples = chunk_count(rows, kSample);
  const int64_t partial = (rows - 1) % kSample == 0 ? samples - 1 : samples;
  for (int64_t j = 0; j < length; ++j) {
    shift[j] /= static_cast<float>(std::max<int64_t>(1, j < tail ? samples : partial));
  }
  const int64_t full = count / length;
  int64_t r = 0;
  for (; r + 4 <= full; r += 4) {
    const float* row = x + r * length;
#pragma GCC ivdep
    for (int64_t j = 0; j < length; ++j) {
      const float s = shift[j];
      const float a = row[j] - s, b = row[j + length] - s;
      const float c = row[j + 2 * length] - s, d = row[j + 3 * length] - s;
      first[j] += (a + b) + (c + d);
      second[j] += (a * a + b * b) + (c * c + d * d);
    }
  }
  for (; r < rows; ++r) {
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

// Means of the lanes of all chunks, weighted: the total mean; then the sum of squares about it
// (Chan, Golub and LeVeque 1983, for many groups at once). Channels [begin, end).
void combine(const Lanes& lanes, const float* moments, int64_t begin, int64_t end, float* mean,
             float* variance) {
  const int64_t rows = lanes.numel / lanes.channels, groups = lanes.length / lanes.channels;
  auto for_groups = [&](int64_t c, auto body) {
    for (int64_t i = 0; i < lanes.chunks(); ++i) {
      const float* chunk = moments + i * 3 * lanes.length;
      const int64_t from = i * lanes.chunk, to = std::min(lanes.numel, from + lanes.chunk);
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t j = g * lanes.channels + c, count = lanes.count(from, to, j);
        if (count <= 0) break;
        body(static_cast<double>(count), chunk[j], chunk[lanes.length + j],
             chunk[2 * lanes.length + j]);
      }
    }
  };
  for (int64_t c = begin; c < end; ++c) {
    double total = 0.0;
    for_groups(c,
               [&](double n, double shift, double first, double) { total += n * shift + first; });
    const double centre = total / static_cast<double>(rows);
    double squares = 0.0;
    for_groups(c, [&](double n, double shift, double first, double second) {
      const double offset =
          shift - centre;  // sum (x - centre)^2 = second + 2 offset first + n offset^2
      squares += second + offset * (2.0 * first + n * offset);
    });
    mean[c] = static_cast<float>(centre);
    variance[c] = static_cast<float>(std::max(0.0, squares / static_cast<double>(rows)));
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
  parallel_for(x.context(), channels, 16, [&](int64_t begin, int64_t end) {
    combine(lanes, moments, begin, end, mean_out, variance_out);
  });
}

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
  const float unbias = static_cast<double>(count) / static_cast<double>(count - 1);
  const float *m = mean.data<float>(), *v = variance.data<float>();
  float *rm = running_mean.data<float>(), *rv = running_variance.data<float>();
  const float keep = 1.0f - momentum;
  for (int64_t c = 0; c < mean.numel(); ++c) {
    rm[c] = keep * rm[c] + momentum * m[c];
    rv[c] = keep * rv[c] + momentum * (v[c] * unbias);
  }
}

}  // namespace halftone::kernels
