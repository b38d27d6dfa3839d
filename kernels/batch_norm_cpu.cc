#include "kernels/batch_norm.h"

#include <cmath>

#include "kernels/activation_math.h"
#include "kernels/check.h"
#include "kernels/lanes.h"

namespace halftone::kernels {
namespace {

double inverse_deviation(float variance, float eps) {
  return 1.0 / std::sqrt(static_cast<double>(variance) + static_cast<double>(eps));
}

float weight_at(const Tensor* weight, int64_t c) {
  return weight == nullptr ? 1.0f : weight->data<float>()[c];
}

void check_channel(const char* name, const Tensor* x, int64_t channels) {
  if (x == nullptr) return;
  check_dtype("batch_norm", name, *x, DType::kFloat32);
  check_shape("batch_norm", name, *x, Shape{channels});
}

// Per lane of one chunk: sum g and sum g (x - mean), where g is dy past the activation.
template <class Rule>
void lane_sums(const Rule& rule, const float* dy, const float* x, const float* y, int64_t count,
               int64_t length, const float* mean, float* sum, float* product) {
  std::fill(sum, sum + length, 0.0f);
  std::fill(product, product + length, 0.0f);
  const int64_t full = count / length;
  int64_t r = 0;
  for (; r + 2 <= full; r += 2) {
    const float *g0 = dy + r * length, *x0 = x + r * length, *y0 = y + r * length;
#pragma GCC ivdep
    for (int64_t j = 0; j < length; ++j) {
      const float a = rule.backward(g0[j], y0[j]);
      const float b = rule.backward(g0[j + length], y0[j + length]);
      sum[j] += a + b;
      product[j] += a * (x0[j] - mean[j]) + b * (x0[j + length] - mean[j]);
    }
  }
  for (; r * length < count; ++r) {
    const float *g0 = dy + r * length, *x0 = x + r * length, *y0 = y + r * length;
    const int64_t width = std::min(length, count - r * length);
#pragma GCC ivdep
    for (int64_t j = 0; j < width; ++j) {
      const float a = rule.backward(g0[j], y0[j]);
      sum[j] += a;
      product[j] += a * (x0[j] - mean[j]);
    }
  }
}

// Totals per channel: sum g in totals[c], sum g (x - mean) in totals[C + c].
template <class Rule>
void reduce_gradient(const Rule& rule, const Lanes& lanes, const Context& context, const float* dy,
                     const float* x, const float* y, const float* mean, double* totals) {
  Tensor scratch = Tensor::empty(context, Shape{lanes.chunks(), 2, lanes.length});
  float* sums = scratch.data<float>();
  for_chunks(context, lanes.numel, lanes.chunk, [&](int64_t i, int64_t begin, int64_t end) {
    float* out = sums + i * 2 * lanes.length;
    lane_sums(rule, dy + begin, x + begin, y + begin, end - begin, lanes.length, mean, out,
              out + lanes.length);
  });
  std::fill(totals, totals + 2 * lanes.channels, 0.0);
  for (int64_t i = 0; i < 2 * lanes.chunks(); ++i) {
    const float* row = sums + i * lanes.length;
    double* out = totals + (i % 2) * lanes.channels;
    for (int64_t j = 0; j < lanes.length; j += lanes.channels) {
#pragma GCC ivdep
      for (int64_t c = 0; c < lanes.channels; ++c) out[c] += row[j + c];
    }
  }
}

// Tables of `length` lanes: dx = a g - offset - (x - mean) slope.
struct GradientTables {
  const float *mean, *a, *offset, *slope;
};

template <class Rule>
void apply_gradient(const Rule& rule, const Lanes& lanes, const Context& context, const float* dy,
                    const float* x, const float* y, const GradientTables& t, float* dx) {
  for_chunks(context, lanes.numel, lanes.chunk, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at += lanes.length) {
      const float *g = dy + at, *in = x + at, *out = y + at;
      float* result = dx + at;
      const int64_t width = std::min(lanes.length, end - at);
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) {
        const float passed = t.a[j] * rule.backward(g[j], out[j]) - t.offset[j];
        result[j] = passed - (in[j] - t.mean[j]) * t.slope[j];
      }
    }
  });
}

}  // namespace

void batch_norm_apply(const Tensor& x, const Tensor& mean, const Tensor& variance, float eps,
                      const Tensor* weight, const Tensor* bias, const ActivationOptions& act,
                      Tensor& y, const Tensor* addend) {
  check_same("batch_norm", x, y);
  if (addend != nullptr) check_same("batch_norm", x, *addend);
  check_activation(act, false);
  const int64_t channels = x.dim(-1);
  for (const Tensor* t : {&mean, &variance}) check_channel("statistics", t, channels);
  check_channel("weight", weight, channels);
  check_channel("bias", bias, channels);
  const Lanes lanes(x.numel(), channels);
  Tensor scratch = Tensor::empty(x.context(), Shape{3, lanes.length});
  float* centre = scratch.data<float>();
  float *factor = centre + lanes.length, *shift = factor + lanes.length;
  const float *m = mean.data<float>(), *v = variance.data<float>();
  lanes.fill(centre, [&](int64_t c) { return m[c]; });
  lanes.fill(factor, [&](int64_t c) {
    return static_cast<float>(inverse_deviation(v[c], eps) * weight_at(weight, c));
  });
  lanes.fill(shift, [&](int64_t c) { return bias == nullptr ? 0.0f : bias->data<float>()[c]; });
  const float *in = x.data<float>(), *added = addend ? addend->data<float>() : nullptr;
  float* out = y.data<float>();
  const auto normalize = [&](auto finish) {
    for_chunks(x.context(), lanes.numel, lanes.chunk, [=](int64_t, int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end; at += lanes.length) {
        const int64_t width = std::min(lanes.length, end - at);
#pragma GCC ivdep
        for (int64_t j = 0; j < width; ++j) {
          out[at + j] = finish((in[at + j] - centre[j]) * factor[j] + shift[j], at + j);
        }
      }
    });
  };
  with_rule(act, [&](auto rule) {
    if (added == nullptr) {
      normalize([rule](float v, int64_t) { return rule.forward(v); });
    } else {
      normalize([rule, added](float v, int64_t i) { return rule.forward(v + added[i]); });
    }
  });
}

void batch_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& y, const Tensor& mean,
                         const Tensor& variance, float eps, const Tensor* weight,
                         const ActivationOptions& act, bool use_batch_statistics, Tensor& dx,
                         Tensor* dweight, Tensor* dbias) {
  check_same("batch_norm backward", dy, x);
  check_same("batch_norm backward", dy, dx);
  check_activation(act, true);
  const bool reads_y = act.kind != Activation::kIdentity;
  if (reads_y) check_same("batch_norm backward", dy, y);
  const int64_t channels = x.dim(-1);
  for (const Tensor* t : {&mean, &variance, weight}) check_channel("weight", t, channels);
  for (const Tensor* t : {dweight, dbias}) check_channel("gradient", t, channels);
  if (x.numel() == 0) return;

  const Lanes lanes(x.numel(), channels);
  Tensor scratch = Tensor::empty(x.context(), Shape{4, lanes.length});
  float* centre = scratch.data<float>();
  float *a = centre + lanes.length, *offset = a + lanes.length, *slope = offset + lanes.length;
  DoubleScratch total_scratch(x.context(), 2 * channels);
  double* totals = total_scratch.data();
  const float *g = dy.data<float>(), *in = x.data<float>(), *v = variance.data<float>();
  const float* m = mean.data<float>();
  const float* out = reads_y ? y.data<float>() : g;
  const double rows = static_cast<double>(lanes.numel / channels);
  const double coupled = use_batch_statistics ? 1.0 / rows : 0.0;
  lanes.fill(centre, [&](int64_t c) { return m[c]; });
  with_rule(act, [&](auto rule) {
    const Context& context = x.context();
    std::fill(totals, totals + 2 * channels, 0.0);
    if (use_batch_statistics || dweight != nullptr || dbias != nullptr) {
      reduce_gradient(rule, lanes, context, g, in, out, centre, totals);
    }
    auto scale = [&](int64_t c) { return inverse_deviation(v[c], eps) * weight_at(weight, c); };
    lanes.fill(a, [&](int64_t c) { return static_cast<float>(scale(c)); });
    lanes.fill(offset,
               [&](int64_t c) { return static_cast<float>(scale(c) * totals[c] * coupled); });
    lanes.fill(slope, [&](int64_t c) {
      const double inverse = inverse_deviation(v[c], eps);
      return static_cast<float>(scale(c) * inverse * inverse * totals[channels + c] * coupled);
    });
    const GradientTables tables{centre, a, offset, slope};
    apply_gradient(rule, lanes, context, g, in, out, tables, dx.data<float>());
  });
  for (int64_t c = 0; c < channels; ++c) {
    if (dbias != nullptr) dbias->data<float>()[c] = static_cast<float>(totals[c]);
    if (dweight == nullptr) continue;
    dweight->data<float>()[c] =
        static_cast<float>(totals[channels + c] * inverse_deviation(v[c], eps));
  }
}

}  // namespace halftone::kernels
