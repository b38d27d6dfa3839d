#include "kernels/batch_norm.h"

#include <cmath>

#include "kernels/activation_math.h"
#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/integer/binary_math.h"
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

// Tables of `length` lanes. dx = a g - offset - (x - mean) slope, where g is dy past the
// activation; y = act((x - mean) a + shift).
struct GradientTables {
  float *mean, *a, *shift, *offset, *slope;
};

// Per lane of the elements [begin, end): sum g and sum g (x - mean). gate(i, j) gives g of element
// i, which stands in lane j.
template <class Gate>
void lane_sums(const Gate& gate, const float* x, int64_t begin, int64_t end, int64_t length,
               const float* mean, float* sum, float* product) {
  std::fill(sum, sum + length, 0.0f);
  std::fill(product, product + length, 0.0f);
  int64_t at = begin;
  for (; at + 2 * length <= end; at += 2 * length) {
    const int64_t next = at + length;
#pragma GCC ivdep
    for (int64_t j = 0; j < length; ++j) {
      const float a = gate(at + j, j), b = gate(next + j, j);
      sum[j] += a + b;
      product[j] += a * (x[at + j] - mean[j]) + b * (x[next + j] - mean[j]);
    }
  }
  for (; at < end; at += length) {
    const int64_t width = std::min(length, end - at);
#pragma GCC ivdep
    for (int64_t j = 0; j < width; ++j) {
      const float a = gate(at + j, j);
      sum[j] += a;
      product[j] += a * (x[at + j] - mean[j]);
    }
  }
}

// Totals per channel: sum g in totals[c], sum g (x - mean) in totals[C + c].
template <class Gate>
void reduce_gradient(const Gate& gate, const Lanes& lanes, const Context& context, const float* x,
                     const float* mean, double* totals) {
  Tensor scratch = Tensor::empty(context, Shape{lanes.chunks(), 2, lanes.length});
  float* sums = scratch.data<float>();
  for_chunks(context, lanes.numel, lanes.chunk, [&](int64_t i, int64_t begin, int64_t end) {
    float* out = sums + i * 2 * lanes.length;
    lane_sums(gate, x, begin, end, lanes.length, mean, out, out + lanes.length);
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

template <class Gate>
void apply_gradient(const Gate& gate, const Lanes& lanes, const Context& context, const float* x,
                    const GradientTables& t, float* dx) {
  for_chunks(context, lanes.numel, lanes.chunk, [=, &lanes](int64_t, int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at += lanes.length) {
      const int64_t width = std::min(lanes.length, end - at);
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) {
        const float passed = t.a[j] * gate(at + j, j) - t.offset[j];
        dx[at + j] = passed - (x[at + j] - t.mean[j]) * t.slope[j];
      }
    }
  });
}

// The two passes of the backward; `reduces`: whether the first is wanted.
struct Passes {
  const Lanes& lanes;
  const Context& context;
  const float* x;
  GradientTables tables;
  const Normalization& norm;
  double* totals;
  bool reduces, coupled;

  template <class First, class Second>
  void run(const First& first, const Second& second, float* dx) const {
    if (reduces) reduce_gradient(first, lanes, context, x, tables.mean, totals);
    fill_gradient_tables();
    apply_gradient(second, lanes, context, x, tables, dx);
  }

  void fill_gradient_tables() const {
    const int64_t channels = lanes.channels;
    const float* v = norm.variance.data<float>();
    const double share = coupled ? 1.0 / static_cast<double>(lanes.numel / channels) : 0.0;
    auto scale = [&](int64_t c) {
      return inverse_deviation(v[c], norm.eps) * weight_at(norm.weight, c);
    };
    lanes.fill(tables.offset,
               [&](int64_t c) { return static_cast<float>(scale(c) * totals[c] * share); });
    lanes.fill(tables.slope, [&](int64_t c) {
      const double inverse = inverse_deviation(v[c], norm.eps);
      return static_cast<float>(scale(c) * inverse * inverse * totals[channels + c] * share);
    });
  }
};

// Tables of `length` lanes of the forward.
void fill_tables(const Lanes& lanes, const Normalization& norm, float* centre, float* factor,
                 float* shift) {
  const float *m = norm.mean.data<float>(), *v = norm.variance.data<float>();
  lanes.fill(centre, [&](int64_t c) { return m[c]; });
  lanes.fill(factor, [&](int64_t c) {
    return static_cast<float>(inverse_deviation(v[c], norm.eps) * weight_at(norm.weight, c));
  });
  lanes.fill(shift, [&](int64_t c) { return norm.bias ? norm.bias->data<float>()[c] : 0.0f; });
}

void check_norm(const Normalization& norm, int64_t channels, bool backward) {
  check_activation(norm.act, backward);
  for (const Tensor* t : {&norm.mean, &norm.variance}) check_channel("statistics", t, channels);
  check_channel("weight", norm.weight, channels);
  check_channel("bias", norm.bias, channels);
}

}  // namespace

void batch_norm_apply(const Tensor& x, const Normalization& norm, Tensor& y, const Tensor* addend) {
  check_same("batch_norm", x, y);
  if (addend != nullptr) check_same("batch_norm", x, *addend);
  check_norm(norm, x.dim(-1), false);
  HALFTONE_ON_DEVICE(batch_norm_apply, x, x, norm, y, addend);
  const Lanes lanes(x.numel(), x.dim(-1));
  Tensor scratch = Tensor::empty(x.context(), Shape{3, lanes.length});
  float* centre = scratch.data<float>();
  float *factor = centre + lanes.length, *shift = factor + lanes.length;
  fill_tables(lanes, norm, centre, factor, shift);
  const float *in = x.data<float>(), *added = addend ? addend->data<float>() : nullptr;
  const LaneWriter writer(lanes, y.data<float>());
  const auto normalize = [&](auto finish) {
    const auto row = [=](int64_t at, int64_t width, float* to) {
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j)
        to[j] = finish((in[at + j] - centre[j]) * factor[j] + shift[j], at + j);
    };
    for_chunks(x.context(), lanes.numel, lanes.chunk,
               [&](int64_t, int64_t begin, int64_t end) { writer.write(begin, end, row); });
  };
  with_rule(norm.act, [&](auto rule) {
    if (added == nullptr) {
      normalize([rule](float v, int64_t) { return rule.forward(v); });
    } else {
      normalize([rule, added](float v, int64_t i) { return rule.forward(v + added[i]); });
    }
  });
}

void batch_norm_sign(const Tensor& x, const Normalization& norm, Tensor& y) {
  check_same("batch_norm", x, y);
  check_norm(norm, x.dim(-1), false);
  HALFTONE_ON_DEVICE(batch_norm_sign, x, x, norm, y);
  batch_norm_apply(x, norm, y);
  float* v = y.data<float>();
  parallel_for(x.context(), y.numel(), 16384, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) v[i] = quant_math::binary_sign(v[i]);
  });
}

void batch_norm_backward(const Tensor& dy, const Tensor& x, const Tensor* y,
                         const Normalization& norm, bool use_batch_statistics,
                         const BatchNormGradients& gradients) {
  const Tensor *dx_out = gradients.x, *addend_out = gradients.addend;
  for (const Tensor* t : {&dy, y, dx_out, addend_out}) {
    if (t != nullptr) check_same("batch_norm backward", *t, x);
  }
  const int64_t channels = x.dim(-1);
  check_norm(norm, channels, true);
  for (const Tensor* t : {gradients.weight, gradients.bias}) check_channel("gradient", t, channels);
  if (x.numel() == 0) return;

  HALFTONE_ON_DEVICE(batch_norm_backward, x, dy, x, y, norm, use_batch_statistics, gradients);
  const Lanes lanes(x.numel(), channels);
  Tensor scratch = Tensor::empty(x.context(), Shape{5, lanes.length});
  float* table = scratch.data<float>();
  const int64_t n = lanes.length;
  const GradientTables t{table, table + n, table + 2 * n, table + 3 * n, table + 4 * n};
  fill_tables(lanes, norm, t.mean, t.a, t.shift);
  DoubleScratch total_scratch(x.context(), 2 * channels);
  double* totals = total_scratch.data();
  std::fill(totals, totals + 2 * channels, 0.0);
  const bool reduces =
      use_batch_statistics || gradients.weight || gradients.bias || gradients.addend;
  const float *g = dy.data<float>(), *in = x.data<float>();
  float* dx = gradients.x->data<float>();
  const Passes passes{lanes, x.context(), in, t, norm, totals, reduces, use_batch_statistics};
  with_rule(norm.act, [&](auto rule) {
    if (y == nullptr) {
      const auto gate = [=](int64_t i, int64_t j) {
        return backward_from_input(rule, g[i], (in[i] - t.mean[j]) * t.a[j] + t.shift[j]);
      };
      return passes.run(gate, gate, dx);
    }
    const float* out = y->data<float>();
    const auto gate = [=](int64_t i, int64_t) { return rule.backward(g[i], out[i]); };
    if (gradients.addend == nullptr) return passes.run(gate, gate, dx);
    float* to = gradients.addend->data<float>();
    passes.run([=](int64_t i, int64_t j) { return to[i] = gate(i, j); },
               [=](int64_t i, int64_t) { return to[i]; }, dx);
  });
  for (int64_t c = 0; c < channels; ++c) {
    if (gradients.bias) gradients.bias->data<float>()[c] = static_cast<float>(totals[c]);
    if (gradients.weight == nullptr) continue;
    gradients.weight->data<float>()[c] = static_cast<float>(
        totals[channels + c] * inverse_deviation(norm.variance.data<float>()[c], norm.eps));
  }
}

}  // namespace halftone::kernels
