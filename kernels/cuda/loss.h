// The ops of loss_cuda.h, for any launcher.
#pragma once

#include <math.h>

#include "kernels/cuda/each.h"
#include "kernels/cuda/ops.h"
#include "kernels/loss_cuda.h"

namespace halftone::kernels::cuda {

HALFTONE_HD float largest_of(const float* x, int64_t n) {
  float best = x[0];
  for (int64_t i = 1; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

// ---- softmax ----

struct SoftmaxItem {
  SoftmaxArgs a;
  HALFTONE_HD void operator()(int64_t r) const {
    const float* x = a.x + r * a.classes;
    float* y = a.y + r * a.classes;
    const float top = largest_of(x, a.classes);
    double total = 0.0;
    for (int64_t i = 0; i < a.classes; ++i) {
      const float e = expf(x[i] - top);
      if (!a.log) y[i] = e;
      total += static_cast<double>(e);
    }
    const float factor = static_cast<float>(1.0 / total);
    const float log_total = a.log ? static_cast<float>(::log(total)) : 0.0f;
    for (int64_t i = 0; i < a.classes; ++i) {
      y[i] = a.log ? (x[i] - top) - log_total : y[i] * factor;
    }
  }
};

struct SoftmaxBackwardItem {
  SoftmaxBackwardArgs a;
  HALFTONE_HD void operator()(int64_t r) const {
    const float *g = a.dy + r * a.classes, *p = a.y + r * a.classes;
    float* dx = a.dx + r * a.classes;
    double sum = 0.0;
    for (int64_t i = 0; i < a.classes; ++i) {
      sum += static_cast<double>(g[i]) * (a.log ? 1.0 : static_cast<double>(p[i]));
    }
    const float total = static_cast<float>(sum);
    for (int64_t i = 0; i < a.classes; ++i) {
      dx[i] = a.log ? g[i] - expf(p[i]) * total : (g[i] - total) * p[i];
    }
  }
};

template <class Launcher>
void launch_softmax(Launcher& launcher, const SoftmaxArgs& a) {
  if (a.classes > 0) each(launcher, a.rows, SoftmaxItem{a});
}

template <class Launcher>
void launch_softmax_backward(Launcher& launcher, const SoftmaxBackwardArgs& a) {
  if (a.classes > 0) each(launcher, a.rows, SoftmaxBackwardItem{a});
}

// ---- losses ----

struct LossTotal {
  double loss = 0.0;
  int64_t bad = 0;
  HALFTONE_HD void merge(const LossTotal& other) {
    loss += other.loss;
    bad += other.bad;
  }
};

HALFTONE_HD void keep_loss(const LossTotal& total, double factor, LossResult* result) {
  result->loss = total.bad > 0 ? NAN : static_cast<float>(total.loss * factor);
  result->bad_labels = static_cast<int32_t>(total.bad);
}

// A rule gives the loss of row x with its label, and writes the row of the gradient.
struct CrossEntropyRule {
  double smoothing, share;  // share: 1 / rows
  HALFTONE_HD double factor() const { return share; }
  HALFTONE_HD double operator()(const float* x, int64_t n, int64_t label, float* d) const {
    const float top = largest_of(x, n);
    double total = 0.0, all = 0.0;
    for (int64_t i = 0; i < n; ++i) {
      d[i] = expf(x[i] - top);
      total += static_cast<double>(d[i]);
    }
    const double log_total = ::log(total);
    const float scale = static_cast<float>(share / total);
    const float spread = static_cast<float>(share * smoothing / static_cast<double>(n));
    for (int64_t i = 0; i < n; ++i) {
      all += log_total - static_cast<double>(x[i] - top);
      d[i] = d[i] * scale - spread;
    }
    d[label] -= static_cast<float>(share * (1.0 - smoothing));
    const double own = log_total - static_cast<double>(x[label] - top);
    if (!(smoothing > 0.0)) return own;
    return (1.0 - smoothing) * own + smoothing / static_cast<double>(n) * all;
  }
};

struct NllRule {
  double rows;
  HALFTONE_HD double factor() const { return 1.0 / rows; }
  HALFTONE_HD double operator()(const float* x, int64_t n, int64_t label, float* d) const {
    for (int64_t i = 0; i < n; ++i) d[i] = 0.0f;
    d[label] = -1.0f / static_cast<float>(rows);
    return -static_cast<double>(x[label]);
  }
};

struct SquaredHingeRule {
  double count;
  HALFTONE_HD double factor() const { return 1.0 / count; }
  HALFTONE_HD double operator()(const float* x, int64_t n, int64_t label, float* d) const {
    const float step = static_cast<float>(-2.0 / count);
    double loss = 0.0;
    for (int64_t i = 0; i < n; ++i) {
      const float t = i == label ? 1.0f : -1.0f;
      const float margin = 1.0f - t * x[i];
      const float violation = margin < 0.0f ? 0.0f : margin;  // NaN stays
      d[i] = step * t * violation;
      loss += static_cast<double>(violation) * static_cast<double>(violation);
    }
    return loss;
  }
};

template <class Rule>
struct LossItem {
  using Total = LossTotal;
  LossArgs a;
  Rule rule;
  HALFTONE_HD void add(int64_t r, Total& total) const {
    const int64_t label = a.labels[r];
    if (label < 0 || label >= a.classes) {
      ++total.bad;
      return;
    }
    total.loss += rule(a.x + r * a.classes, a.classes, label, a.dx + r * a.classes);
  }
  HALFTONE_HD void finish(const Total& total) const { keep_loss(total, rule.factor(), a.result); }
};

template <class Launcher>
void launch_loss(Launcher& launcher, const LossArgs& a) {
  const double rows = static_cast<double>(a.rows);
  const auto go = [&](auto rule) { sum_each(launcher, a.rows, LossItem<decltype(rule)>{a, rule}); };
  if (a.kind == LossKind::kCrossEntropy) {
    return go(CrossEntropyRule{static_cast<double>(a.label_smoothing), 1.0 / rows});
  }
  if (a.kind == LossKind::kNll) return go(NllRule{rows});
  go(SquaredHingeRule{rows * static_cast<double>(a.classes)});
}

// Elementwise, but a loss: the gradient on the way to the sum. GradientOp's dy is the target.
struct MseOp : GradientOp<float> {
  using Constants = Nothing;
  using Tile = SumTotal<1>;
  struct Total : SumTotal<1> {
    HALFTONE_HD void take(const SumTotal<1>& tile) { this->merge(tile); }
  };
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const Input& in, const Nothing&, Output& out, Tile& tile) const {
    const float difference = in.x.v[j] - in.dy.v[j];
    out.dx.v[j] = factor * difference;
    tile.sum[0] += static_cast<double>(difference) * static_cast<double>(difference);
  }
  HALFTONE_HD void finish(int64_t, const Total& total) const {
    LossTotal loss;
    loss.loss = total.sum[0];
    keep_loss(loss, 1.0 / static_cast<double>(numel), result);
  }
  int64_t numel;
  float factor;
  LossResult* result;
};

template <class Launcher>
void launch_mse(Launcher& launcher, const MseArgs& a) {
  MseOp op{};
  op.dy = a.target, op.x = a.x, op.dx = a.dx;
  op.numel = a.numel, op.factor = static_cast<float>(2.0 / static_cast<double>(a.numel));
  op.result = a.result;
  pass_flat(launcher, op, a.numel);
}

// Rows whose largest entry (lowest index on ties) is the label; none with a NaN.
struct CountCorrectItem {
  struct Total {
    int64_t count = 0;
    HALFTONE_HD void merge(const Total& other) { count += other.count; }
  };
  CountCorrectArgs a;
  HALFTONE_HD void add(int64_t r, Total& total) const {
    const float* row = a.x + r * a.classes;
    int64_t best = 0;
    bool nan = false;
    for (int64_t i = 0; i < a.classes; ++i) {
      nan |= row[i] != row[i];
      if (row[i] > row[best]) best = i;
    }
    total.count += !nan && best == a.labels[r] ? 1 : 0;
  }
  HALFTONE_HD void finish(const Total& total) const { *a.correct = total.count; }
};

template <class Launcher>
void launch_count_correct(Launcher& launcher, const CountCorrectArgs& a) {
  sum_each(launcher, a.rows, CountCorrectItem{a});
}

}  // namespace halftone::kernels::cuda
