#include "test/golden/reference_quantize.h"

#include <algorithm>
#include <cmath>

namespace halftone::golden::reference {

float Sums::of(const std::vector<double>& terms) const {
  if (order == 0) {
    double sum = 0;
    for (const double t : terms) sum += t;
    return static_cast<float>(sum);
  }
  const size_t n = terms.size(), start = order * n / kOrders;
  float sum = 0;
  for (size_t i = 0; i < n; ++i) {
    const size_t at = (start + i) % n;
    const double term = terms[order % 2 == 0 ? at : n - 1 - at];
    sum = order / 2 % 2 == 0 ? static_cast<float>(double{sum} + term)
                             : sum + static_cast<float>(term);
  }
  return sum;
}

void step(const Sgd& sgd, const Values& gradient, Values& buffer, Values& value) {
  for (size_t i = 0; i < value.size(); ++i) {
    buffer[i] = sgd.momentum * buffer[i] + gradient[i];
    value[i] -= sgd.lr * buffer[i];
  }
}

// ---- ranges ----

Grid grid_of(float low, float high, const RangeSpec& spec, bool& lost) {
  const int top = spec.is_signed ? (1 << (spec.bits - 1)) - 1 : (1 << spec.bits) - 1;
  Grid g{0, 0, spec.is_signed ? -float(top) : 0.0f, float(top)};
  low = std::min(low, 0.0f);
  high = std::max(high, 0.0f);
  g.scale = spec.symmetric ? std::max(-low, high) / ((g.qmax - g.qmin) / 2)
                           : (high - low) / (g.qmax - g.qmin);
  lost |= g.scale < kFloor;
  g.scale = std::max(g.scale, kFloor);
  if (spec.symmetric) {
    g.zero_point = spec.is_signed ? 0.0f : float(top / 2);
  } else {
    g.zero_point = std::clamp(g.qmin - std::rint(low / g.scale), g.qmin, g.qmax);
  }
  return g;
}

void RangeQuantizer::observe(const Values& v) {
  Values least(spec_.channels, INFINITY), most(spec_.channels, -INFINITY);
  for (size_t i = 0; i < v.size(); ++i) {
    const size_t c = i / spec_.inner % spec_.channels;
    least[c] = std::min(least[c], v[i]);
    most[c] = std::max(most[c], v[i]);
  }
  if (low.empty() || !spec_.average) low = least, high = most;
  if (!spec_.average) return;
  const float old = 0.99f, part = static_cast<float>(1 - 0.99);
  for (int64_t c = 0; c < spec_.channels; ++c) {
    low[c] = old * low[c] + part * least[c];
    high[c] = old * high[c] + part * most[c];
  }
}

Values RangeQuantizer::forward(const Values& v, bool training) {
  if (training) {
    observe(v);
    grids.clear();
    bool unused = false;  // NNI does not divide by a scale while it warms up
    for (int64_t c = 0; c < spec_.channels; ++c) {
      grids.push_back(grid_of(low[c], high[c], spec_, warm_up() ? unused : lost));
    }
    if (warm_up()) return v;
  }
  Values out(v.size());
  for (size_t i = 0; i < v.size(); ++i) {
    const Grid& g = grid(i);
    const float code = std::rint(std::clamp(g.zero_point + v[i] / g.scale, g.qmin, g.qmax));
    out[i] = g.scale * (code - g.zero_point);
  }
  return out;
}

Values RangeQuantizer::backward(const Values& up, const Values& v) {
  if (warm_up()) return up;
  Values out(v.size());
  for (size_t i = 0; i < v.size(); ++i) {
    const Grid& g = grid(i);
    const float code = std::rint(v[i] / g.scale + g.zero_point);
    out[i] = code >= g.qmin && code <= g.qmax ? up[i] : 0.0f;
  }
  return out;
}

// ---- LSQ ----

Values LsqQuantizer::forward(const Values& v, bool) {
  std::vector<double> sizes;
  for (const float x : v) sizes.push_back(std::fabs(x));
  const float sum = sums_.of(sizes);
  if (!started_ && sum > 0) {
    const float mean = sum / static_cast<float>(v.size());
    scale[0] = std::max(2 * mean / std::sqrt(qmax_), kFloor);
    started_ = true;
  }
  lost |= !started_;
  if (!started_) return v;
  const float s = passed_scale(v.size());
  Values out(v.size());
  for (size_t i = 0; i < v.size(); ++i) out[i] = s * std::rint(std::clamp(v[i] / s, qmin_, qmax_));
  return out;
}

// NNI takes (s - g s) + g s, whose gradient by s is g: now and then a rounding away from s. Half of
// the orders do as it does.
float LsqQuantizer::passed_scale(size_t count) const {
  if (sums_.order / 4 % 2 == 0) return scale[0];
  const float g = static_cast<float>(1 / std::sqrt(double{qmax_} * static_cast<double>(count)));
  const float part = scale[0] * g;
  return (scale[0] - part) + part;
}

Values LsqQuantizer::backward(const Values& up, const Values& v) {
  if (!started_) return up;
  Values out(v.size());
  const float s = passed_scale(v.size());
  double sum = 0;
  for (size_t i = 0; i < v.size(); ++i) {
    const float x = v[i] / s;
    const bool inside = x >= qmin_ && x <= qmax_;
    const float share = inside ? std::rint(x) - x : x < 0 ? qmin_ : qmax_;
    sum += double{up[i]} * double{share};
    out[i] = inside ? up[i] : 0.0f;
  }
  gradient[0] = static_cast<float>(sum / std::sqrt(double{qmax_} * static_cast<double>(v.size())));
  return out;
}

void LsqQuantizer::step(const Sgd& sgd) {
  if (!started_) return;
  reference::step(sgd, gradient, buffer_, scale);
  lost |= !(scale[0] >= kFloor);
  scale[0] = std::max(scale[0], kFloor);
}

// ---- DoReFa, sign, naive ----

Values DorefaQuantizer::forward(const Values& v, bool) {
  Values t;
  float largest = 0;
  for (const float w : v) {
    t.push_back(static_cast<float>(std::tanh(double{w})));
    largest = std::max(largest, std::fabs(t.back()));
  }
  for (float& x : t) x = 2 * (std::rint((x / (2 * largest) + 0.5f) * n_) / n_) - 1;
  return t;
}

// With u = t / m, m = max |t|: dt = up / m, and the weights that reach m share the max's own part,
// -sign(t) (sum up t) / m^2; dw = dt (1 - t^2).
Values DorefaQuantizer::backward(const Values& up, const Values& v) {
  double m = 0, sum = 0, ties = 0;
  for (const float w : v) m = std::max(m, std::fabs(std::tanh(double{w})));
  for (size_t i = 0; i < v.size(); ++i) {
    const double t = std::tanh(double{v[i]});
    sum += double{up[i]} * t;
    ties += std::fabs(t) == m;
  }
  Values out;
  for (size_t i = 0; i < v.size(); ++i) {
    const double t = std::tanh(double{v[i]});
    const double top = std::fabs(t) == m ? (t < 0 ? -sum : sum) / (m * m * ties) : 0.0;
    out.push_back(static_cast<float>((double{up[i]} / m - top) * (1 - t * t)));
  }
  return out;
}

Values SignQuantizer::forward(const Values& v, bool) {
  Values out;
  for (const float x : v) out.push_back(x >= 0 ? 1.0f : -1.0f);
  return out;
}

Values SignQuantizer::backward(const Values& up, const Values& v) {
  Values out = up;
  for (size_t i = 0; i < v.size(); ++i) out[i] = masks_ && std::fabs(v[i]) > 1 ? 0.0f : up[i];
  return out;
}

Values NaiveQuantizer::forward(const Values& v, bool) {
  for (const float w : v) scale_ = std::max(scale_, std::fabs(w) / 127);
  Values out;
  for (const float w : v)
    out.push_back(std::trunc(std::clamp(w / scale_, -127.0f, 127.0f)) * scale_);
  return out;
}

}  // namespace halftone::golden::reference
