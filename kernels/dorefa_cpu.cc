#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/dorefa.h"
#include "kernels/noise.h"
#include "kernels/parallel.h"
#include "kernels/quant_bodies.h"
#include "kernels/reduce.h"

namespace halftone::kernels {
namespace {

using quant_math::DorefaWeightRule;

constexpr int64_t kGrain = 4096, kChunk = 16384;
constexpr int64_t kTanhBlock = 512;  // a multiple of the lanes

// n = 2^bits - 1.
float levels(const char* op, int bits, int fewest) {
  if (bits < fewest || bits > 16) {
    throw HALFTONE_ERROR(op)
        .expected(std::to_string(fewest) + " to 16 bits")
        .found(std::to_string(bits));
  }
  return static_cast<float>((1 << bits) - 1);
}

// The largest |x|, NaN left out; 0 of nothing. In lanes: one running maximum would wait for itself.
float largest_magnitude(const float* x, int64_t count) {
  constexpr int64_t kLanes = 4 * kQuantLanes;
  float most[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      const float size = std::fabs(x[i + j]);
      most[j] = size > most[j] ? size : most[j];
    }
  }
  for (; i < count; ++i) most[0] = std::max(most[0], std::fabs(x[i]));  // NaN loses in this order
  return *std::max_element(most, most + kLanes);
}

float at_least_floor(float largest) {
  return largest > quant_math::kDorefaFloor ? largest : quant_math::kDorefaFloor;
}

// body(begin, count, t) for blocks of the weights, t = tanh(w).
template <class Body>
void for_tanh(const float* w, int64_t begin, int64_t end, Body body) {
  float t[kTanhBlock];
  const auto tanh = quant_bodies().tanh;
  for (int64_t i = begin; i < end; i += kTanhBlock) {
    const int64_t count = std::min(kTanhBlock, end - i);
    tanh(w + i, count, t);
    body(i, count, t);
  }
}

// sum_j dy_j t_j / (M^2 count), in double.
float tied_share(const Tensor& dy, const Tensor& w, float largest) {
  const float *up = dy.data<float>(), *in = w.data<float>();
  const int64_t chunks = chunk_count(w.numel(), kChunk);
  std::vector<double> sums(chunks);
  std::vector<int64_t> counts(chunks);
  for_chunks(w.context(), w.numel(), kChunk, [&](int64_t k, int64_t begin, int64_t end) {
    double lanes[kQuantLanes] = {};
    int64_t tied = 0;
    for_tanh(in, begin, end, [&](int64_t at, int64_t count, const float* t) {
      for (int64_t i = 0; i < count; ++i) {
        lanes[i % kQuantLanes] += static_cast<double>(up[at + i]) * static_cast<double>(t[i]);
        tied += std::fabs(t[i]) == largest;
      }
    });
    for (const double lane : lanes) sums[k] += lane;
    counts[k] = tied;
  });
  double sum = 0.0, count = 0.0;
  for (int64_t k = 0; k < chunks; ++k) sum += sums[k], count += static_cast<double>(counts[k]);
  const double m = static_cast<double>(largest);
  return count > 0.0 ? static_cast<float>(sum / (m * m * count)) : 0.0f;
}

// Gradients of one sample, whose range is m.
void quantize_run(const float* g, const uint32_t* draws, int64_t count, float m, float n,
                  float* out) {
  for (int64_t i = 0; i < count; ++i) {
    out[i] = quant_math::dorefa_gradient(g[i], m, n, noise_uniform(draws[i]));
  }
}

}  // namespace

float dorefa_largest(const Tensor& w) {
  HALFTONE_ON_DEVICE(dorefa_largest, w, w);
  check_dtype("dorefa_largest", "weight", w, DType::kFloat32);
  const float* in = w.data<float>();
  std::vector<float> most(chunk_count(w.numel(), kChunk));
  for_chunks(w.context(), w.numel(), kChunk, [&](int64_t k, int64_t begin, int64_t end) {
    most[k] = largest_magnitude(in + begin, end - begin);
  });
  // tanh never falls, so the largest |w| has the largest |tanh w|.
  return quant_math::dorefa_tanh(largest_magnitude(most.data(), static_cast<int64_t>(most.size())));
}

void dorefa_weights(const Tensor& w, float largest, int bits, Tensor& y) {
  HALFTONE_ON_DEVICE(dorefa_weights, w, w, largest, bits, y);
  check_same("dorefa_weights", w, y);
  const float n = levels("dorefa_weights", bits, 2);
  const float m = at_least_floor(largest), *in = w.data<float>();
  float* out = y.data<float>();
  parallel_for(w.context(), w.numel(), kGrain, [=](int64_t begin, int64_t end) {
    for_tanh(in, begin, end, [=](int64_t at, int64_t count, const float* t) {
      for (int64_t i = 0; i < count; ++i) {
        out[at + i] = quant_math::dorefa_weight(quant_math::dorefa_weight_code(t[i], m, n), n);
      }
    });
  });
}

void dorefa_weights_backward(const Tensor& dy, const Tensor& w, float largest, Tensor& dw) {
  HALFTONE_ON_DEVICE(dorefa_weights_backward, w, dy, w, largest, dw);
  check_same("dorefa_weights_backward", w, dy);
  check_same("dorefa_weights_backward", w, dw);
  DorefaWeightRule rule;
  rule.dead = !(largest >= quant_math::kDorefaFloor);
  rule.largest = at_least_floor(largest);
  if (!rule.dead) rule.tied = tied_share(dy, w, largest);
  const float *up = dy.data<float>(), *in = w.data<float>();
  float* out = dw.data<float>();
  parallel_for(w.context(), w.numel(), kGrain, [=](int64_t begin, int64_t end) {
    for_tanh(in, begin, end, [=](int64_t at, int64_t count, const float* t) {
      for (int64_t i = 0; i < count; ++i) {
        out[at + i] = quant_math::dorefa_weight_gradient(up[at + i], t[i], rule);
      }
    });
  });
}

void dorefa_activations(const Tensor& x, int bits, Tensor& y) {
  HALFTONE_ON_DEVICE(dorefa_activations, x, x, bits, y);
  check_same("dorefa_activations", x, y);
  const float n = levels("dorefa_activations", bits, 1);
  run_elementwise(x.context(), quant_bodies().dorefa_activation, nullptr, x, &n, y);
}

void dorefa_activations_backward(const Tensor& dy, const Tensor& x, Tensor& dx) {
  HALFTONE_ON_DEVICE(dorefa_activations_backward, x, dy, x, dx);
  check_same("dorefa_activations_backward", x, dy);
  check_same("dorefa_activations_backward", x, dx);
  const auto body = quant_bodies().dorefa_activation_gradient;
  run_elementwise(x.context(), body, &dy, x, nullptr, dx);
}

void dorefa_gradients(const Tensor& g, int bits, const Philox& noise, Tensor& y) {
  HALFTONE_ON_DEVICE(dorefa_gradients, g, g, bits, noise, y);
  check_same("dorefa_gradients", g, y);
  const float n = levels("dorefa_gradients", bits, 1);
  const int64_t samples = g.rank() > 0 ? g.dim(0) : 1;
  const int64_t total = g.numel(), length = samples > 0 ? total / samples : 0;
  if (total == 0) return;
  const float* in = g.data<float>();
  float* out = y.data<float>();
  std::vector<float> most(samples);
  for_chunks(g.context(), samples, 1, [&](int64_t s, int64_t, int64_t) {
    most[s] = largest_magnitude(in + s * length, length);
  });
  const float* m = most.data();
  const int64_t blocks = (total + kNoiseBlock - 1) / kNoiseBlock;
  parallel_for(g.context(), blocks, kChunk / kNoiseBlock, [=](int64_t begin, int64_t end) {
    uint32_t bits_of[kNoiseBlock];
    for (int64_t block = begin; block < end; ++block) {
      draws(noise, block, bits_of);
      const int64_t at = block * kNoiseBlock, stop = std::min(total, at + kNoiseBlock);
      for (int64_t i = at; i < stop;) {
        const int64_t sample = i / length, until = std::min(stop, (sample + 1) * length);
        quantize_run(in + i, bits_of + (i - at), until - i, m[sample], n, out + i);
        i = until;
      }
    }
  });
}

}  // namespace halftone::kernels
