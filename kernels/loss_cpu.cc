#include "kernels/loss.h"

#include <cmath>
#include <limits>
#include <string>

#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/reduce.h"

namespace halftone::kernels {
namespace {

// Rows per chunk, so that a chunk holds about 4096 values: exp makes each of them cost 20 copies.
int64_t chunk_rows(int64_t channels) {
  return std::max<int64_t>(1, 4096 / std::max<int64_t>(1, channels));
}

int64_t row_count(const Tensor& x) { return x.dim(-1) == 0 ? 0 : x.numel() / x.dim(-1); }

// Calls body(row) for every row, in parallel.
template <class Body>
void for_rows(const Tensor& x, Body body) {
  const int64_t rows = row_count(x);
  parallel_for(x.context(), rows, chunk_rows(x.dim(-1)), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) body(r);
  });
}

// Logits (N, C) with N >= 1, and labels (N) within [0, C).
void check_labels(const char* op, const Tensor& x, const Tensor& labels) {
  check_dtype(op, "input", x, DType::kFloat32);
  check_rank(op, "input", x, 2);
  check_dtype(op, "labels", labels, DType::kInt64);
  check_shape(op, "labels", labels, Shape{x.dim(0)});
  if (!labels.context().on_cpu()) return;  // the device counts bad ones itself
  const int64_t* label = labels.data<int64_t>();
  for (int64_t i = 0; i < labels.numel(); ++i) {
    if (label[i] >= 0 && label[i] < x.dim(1)) continue;
    throw HALFTONE_ERROR(op)
        .expected("labels in [0, " + std::to_string(x.dim(1)) + ")")
        .found("labels[" + std::to_string(i) + "] = " + std::to_string(label[i]));
  }
}

void check_loss(const char* op, const Tensor& x, const Tensor& dx) {
  check_same(op, x, dx);
  if (x.numel() > 0) return;
  throw HALFTONE_ERROR(op).expected("at least one value").found(x.shape().str());
}

float largest(const float* x, int64_t n) {
  float best = x[0];
  for (int64_t i = 1; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

// log(sum exp(x)), with the largest taken out: no overflow.
double log_sum_exp(const float* x, int64_t n, float top) {
  double total = 0.0;
  for (int64_t i = 0; i < n; ++i) total += std::exp(x[i] - top);
  return std::log(total);
}

// One row of cross_entropy; `d` gets its gradient, times `share` = 1 / N.
double cross_entropy_row(const float* x, int64_t n, int64_t label, double smoothing, double share,
                         float* d) {
  const float top = largest(x, n);
  double total = 0.0, all = 0.0;
  for (int64_t i = 0; i < n; ++i) {
    d[i] = std::exp(x[i] - top);
    total += d[i];
  }
  const double log_total = std::log(total);
  const float scale = static_cast<float>(share / total);
  const float spread = static_cast<float>(share * smoothing / static_cast<double>(n));
  if (smoothing > 0.0) {
    for (int64_t i = 0; i < n; ++i) all += log_total - (x[i] - top);
  }
  for (int64_t i = 0; i < n; ++i) d[i] = d[i] * scale - spread;
  d[label] -= static_cast<float>(share * (1.0 - smoothing));
  const double own = log_total - (x[label] - top);
  return smoothing > 0.0 ? (1.0 - smoothing) * own + smoothing / static_cast<double>(n) * all : own;
}

}  // namespace

void softmax(const Tensor& x, Tensor& y) {
  check_same("softmax", x, y);
  HALFTONE_ON_DEVICE(softmax, x, x, y);
  const int64_t n = x.dim(-1);
  for_rows(x, [&, in = x.data<float>(), out = y.data<float>()](int64_t r) {
    const float* row = in + r * n;
    float* result = out + r * n;
    const float top = largest(row, n);
    double total = 0.0;
    for (int64_t i = 0; i < n; ++i) {
      result[i] = std::exp(row[i] - top);
      total += result[i];
    }
    const float factor = static_cast<float>(1.0 / total);
    for (int64_t i = 0; i < n; ++i) result[i] *= factor;
  });
}

void log_softmax(const Tensor& x, Tensor& y) {
  check_same("log_softmax", x, y);
  HALFTONE_ON_DEVICE(log_softmax, x, x, y);
  const int64_t n = x.dim(-1);
  for_rows(x, [&, in = x.data<float>(), out = y.data<float>()](int64_t r) {
    const float* row = in + r * n;
    const float top = largest(row, n);
    const float log_total = static_cast<float>(log_sum_exp(row, n, top));
    for (int64_t i = 0; i < n; ++i) out[r * n + i] = (row[i] - top) - log_total;
  });
}

void softmax_backward(const Tensor& dy, const Tensor& y, Tensor& dx) {
  check_same("softmax backward", dy, y);
  check_same("softmax backward", dy, dx);
  HALFTONE_ON_DEVICE(softmax_backward, dy, dy, y, dx);
  const int64_t n = dy.dim(-1);
  const float *gradient = dy.data<float>(), *output = y.data<float>();
  float* result = dx.data<float>();
  for_rows(dy, [=](int64_t r) {
    const float *g = gradient + r * n, *p = output + r * n;
    double dot = 0.0;
    for (int64_t i = 0; i < n; ++i) dot += static_cast<double>(g[i]) * static_cast<double>(p[i]);
    const float centre = static_cast<float>(dot);
    for (int64_t i = 0; i < n; ++i) result[r * n + i] = (g[i] - centre) * p[i];
  });
}

void log_softmax_backward(const Tensor& dy, const Tensor& y, Tensor& dx) {
  check_same("log_softmax backward", dy, y);
  check_same("log_softmax backward", dy, dx);
  HALFTONE_ON_DEVICE(log_softmax_backward, dy, dy, y, dx);
  const int64_t n = dy.dim(-1);
  const float *gradient = dy.data<float>(), *output = y.data<float>();
  float* result = dx.data<float>();
  for_rows(dy, [=](int64_t r) {
    const float *g = gradient + r * n, *p = output + r * n;
    double sum = 0.0;
    for (int64_t i = 0; i < n; ++i) sum += g[i];
    const float total = static_cast<float>(sum);
    for (int64_t i = 0; i < n; ++i) result[r * n + i] = g[i] - std::exp(p[i]) * total;
  });
}

float cross_entropy(const Tensor& x, const Tensor& labels, float label_smoothing, Tensor& dx) {
  check_labels("cross_entropy", x, labels);
  check_loss("cross_entropy", x, dx);
  if (!(label_smoothing >= 0.0f && label_smoothing <= 1.0f)) {
    throw HALFTONE_ERROR("cross_entropy")
        .expected("label_smoothing in [0, 1]")
        .found(std::to_string(label_smoothing));
  }
  HALFTONE_ON_DEVICE(cross_entropy, x, x, labels, label_smoothing, dx);
  const int64_t rows = x.dim(0), n = x.dim(1);
  const double share = 1.0 / static_cast<double>(rows);
  const float* in = x.data<float>();
  const int64_t* label = labels.data<int64_t>();
  float* out = dx.data<float>();
  const double total =
      reduce_chunks(x.context(), rows, chunk_rows(n), [=](int64_t begin, int64_t end) {
        double loss = 0.0;
        for (int64_t r = begin; r < end; ++r) {
          loss += cross_entropy_row(in + r * n, n, label[r], label_smoothing, share, out + r * n);
        }
        return loss;
      });
  return static_cast<float>(total * share);
}

float nll(const Tensor& log_probabilities, const Tensor& labels, Tensor& dx) {
  check_labels("nll", log_probabilities, labels);
  check_loss("nll", log_probabilities, dx);
  HALFTONE_ON_DEVICE(nll, log_probabilities, log_probabilities, labels, dx);
  const int64_t rows = dx.dim(0), n = dx.dim(1);
  const float* in = log_probabilities.data<float>();
  const int64_t* label = labels.data<int64_t>();
  float* out = dx.data<float>();
  std::fill(out, out + dx.numel(), 0.0f);
  double total = 0.0;
  for (int64_t r = 0; r < rows; ++r) {
    total -= in[r * n + label[r]];
    out[r * n + label[r]] = -1.0f / static_cast<float>(rows);
  }
  return static_cast<float>(total / static_cast<double>(rows));
}

float mse(const Tensor& x, const Tensor& target, Tensor& dx) {
  check_same("mse", x, target);
  check_loss("mse", x, dx);
  HALFTONE_ON_DEVICE(mse, x, x, target, dx);
  const float *in = x.data<float>(), *goal = target.data<float>();
  float* out = dx.data<float>();
  const double count = static_cast<double>(x.numel());
  const float factor = static_cast<float>(2.0 / count);
  const double total = reduce_chunks(x.context(), x.numel(), 16384, [=](int64_t b, int64_t e) {
    double loss = 0.0;
    for (int64_t i = b; i < e; ++i) {
      const float difference = in[i] - goal[i];
      out[i] = factor * difference;
      loss += static_cast<double>(difference) * static_cast<double>(difference);
    }
    return loss;
  });
  return static_cast<float>(total / count);
}

float squared_hinge(const Tensor& x, const Tensor& labels, Tensor& dx) {
  check_labels("squared_hinge", x, labels);
  check_loss("squared_hinge", x, dx);
  HALFTONE_ON_DEVICE(squared_hinge, x, x, labels, dx);
  const int64_t rows = x.dim(0), n = x.dim(1);
  const double count = static_cast<double>(x.numel());
  const float* in = x.data<float>();
  const int64_t* label = labels.data<int64_t>();
  float* out = dx.data<float>();
  const float factor = static_cast<float>(-2.0 / count);
  const double total =
      reduce_chunks(x.context(), rows, chunk_rows(n), [=](int64_t begin, int64_t end) {
        double loss = 0.0;
        for (int64_t i = begin * n; i < end * n; ++i) {
          const float t = i % n == label[i / n] ? 1.0f : -1.0f;
          const float margin = 1.0f - t * in[i];
          const float violation = margin < 0.0f ? 0.0f : margin;  // NaN stays
          out[i] = factor * t * violation;
          loss += static_cast<double>(violation) * static_cast<double>(violation);
        }
        return loss;
      });
  return static_cast<float>(total / count);
}

Tensor loss_on_device(LabelledLoss kind, const Tensor& x, const Tensor& labels,
                      float label_smoothing, Tensor& dx) {
  check_labels("loss", x, labels);
  return device_body_of<&loss_on_device>("loss", x)(kind, x, labels, label_smoothing, dx);
}

void count_correct_on_device(const Tensor& x, const Tensor& labels, Tensor& correct) {
  check_labels("count_correct", x, labels);
  device_body_of<&count_correct_on_device>("count_correct", x)(x, labels, correct);
}

int64_t count_correct(const Tensor& x, const Tensor& labels) {
  check_labels("count_correct", x, labels);
  HALFTONE_ON_DEVICE(count_correct, x, x, labels);
  const int64_t n = x.dim(1);
  const float* in = x.data<float>();
  const int64_t* label = labels.data<int64_t>();
  const double right =
      reduce_chunks(x.context(), x.dim(0), 16 * chunk_rows(n), [=](int64_t begin, int64_t end) {
        int64_t count = 0;
        for (int64_t r = begin; r < end; ++r) {
          const float* row = in + r * n;
          int64_t best = 0;
          bool nan = false;
          for (int64_t i = 0; i < n; ++i) {
            nan |= row[i] != row[i];
            if (row[i] > row[best]) best = i;
          }
          count += !nan && best == label[r] ? 1 : 0;
        }
        return static_cast<double>(count);
      });
  return static_cast<int64_t>(right);
}

}  // namespace halftone::kernels
