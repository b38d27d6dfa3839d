#include <string>

#include "kernels/binary.h"
#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/moments.h"
#include "kernels/noise.h"
#include "kernels/parallel.h"
#include "kernels/quant_bodies.h"
#include "kernels/reduce.h"

namespace halftone::kernels {
namespace {

using quant_math::SignGradient;

constexpr int64_t kGrain = 16384;

// Weights seen as (rows, length), one alpha per row or for all.
struct Rows {
  Rows(const char* op, const Tensor& w, const std::vector<float>& alpha) : alpha(alpha.data()) {
    const int64_t found = static_cast<int64_t>(alpha.size());
    count = found;
    if (found != 1 && (w.rank() == 0 || found != w.dim(0))) {
      throw HALFTONE_ERROR(op)
          .expected(w.rank() > 0 ? "1 or " + std::to_string(w.dim(0)) + " scales" : "1 scale")
          .found(std::to_string(found));
    }
    length = w.numel() / std::max<int64_t>(1, count);
  }
  int64_t grain() const { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, length)); }
  const float* alpha;
  int64_t count = 1, length = 0;
};

}  // namespace

void binarize(const Tensor& x, Tensor& y) {
  check_same("binarize", x, y);
  HALFTONE_ON_DEVICE(binarize, x, x, y);
  run_elementwise(x.context(), quant_bodies().sign, nullptr, x, nullptr, y);
}

void binarize_stochastic(const Tensor& x, const Philox& noise, Tensor& y) {
  check_same("binarize_stochastic", x, y);
  HALFTONE_ON_DEVICE(binarize_stochastic, x, x, noise, y);
  const float* in = x.data<float>();
  float* out = y.data<float>();
  const int64_t n = x.numel(), blocks = (n + kNoiseBlock - 1) / kNoiseBlock;
  parallel_for(x.context(), blocks, kGrain / kNoiseBlock, [=](int64_t begin, int64_t end) {
    uint32_t bits[kNoiseBlock];
    for (int64_t block = begin; block < end; ++block) {
      draws(noise, block, bits);
      const int64_t at = block * kNoiseBlock, count = std::min(kNoiseBlock, n - at);
      for (int64_t i = 0; i < count; ++i) {
        out[at + i] = quant_math::stochastic_sign(in[at + i], noise_uniform(bits[i]));
      }
    }
  });
}

void binarize_backward(const Tensor& dy, const Tensor& x, SignGradient rule, Tensor& dx) {
  check_same("binarize_backward", x, dy);
  check_same("binarize_backward", x, dx);
  HALFTONE_ON_DEVICE(binarize_backward, x, dy, x, rule, dx);
  const auto body = quant_bodies().sign_gradient[static_cast<int>(rule)];
  run_elementwise(x.context(), body, &dy, x, nullptr, dx);
}

void clip_latent_weights(Tensor& w) {
  check_dtype("clip_latent_weights", "weight", w, DType::kFloat32);
  HALFTONE_ON_DEVICE(clip_latent_weights, w, w);
  float* values = w.data<float>();
  parallel_for(w.context(), w.numel(), kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) values[i] = quant_math::clip_latent(values[i]);
  });
}

std::vector<float> mean_magnitude(const Tensor& w, bool per_row) {
  HALFTONE_ON_DEVICE(mean_magnitude, w, w, per_row);
  std::vector<float> out;
  for (const Moments& m : moments(w, per_row ? 0 : -1)) {
    out.push_back(m.count > 0 ? static_cast<float>(m.mean_magnitude()) : 0.0f);
  }
  return out;
}

void binarize_scaled(const Tensor& w, const std::vector<float>& alpha, Tensor& y) {
  check_same("binarize_scaled", w, y);
  const Rows rows("binarize_scaled", w, alpha);
  HALFTONE_ON_DEVICE(binarize_scaled, w, w, alpha, y);
  const float* in = w.data<float>();
  float* out = y.data<float>();
  parallel_for(w.context(), w.numel(), kGrain, [=](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t row = begin / rows.length, stop = std::min(end, (row + 1) * rows.length);
      const float a = rows.alpha[row];
      for (int64_t i = begin; i < stop; ++i) out[i] = a * quant_math::binary_sign(in[i]);
      begin = stop;
    }
  });
}

void binarize_scaled_backward(const Tensor& dy, const Tensor& w, const std::vector<float>& alpha,
                              Tensor& dw) {
  check_same("binarize_scaled_backward", w, dy);
  check_same("binarize_scaled_backward", w, dw);
  const Rows rows("binarize_scaled_backward", w, alpha);
  HALFTONE_ON_DEVICE(binarize_scaled_backward, w, dy, w, alpha, dw);
  const float *up = dy.data<float>(), *in = w.data<float>();
  float* out = dw.data<float>();
  const auto one_nth =
      static_cast<float>(1.0 / static_cast<double>(std::max<int64_t>(1, rows.length)));
  parallel_for(w.context(), rows.count, rows.grain(), [=](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const float a = rows.alpha[r];
      for (int64_t i = r * rows.length; i < (r + 1) * rows.length; ++i) {
        const float d = quant_math::sign_derivative(in[i], SignGradient::kStraightThrough);
        out[i] = quant_math::xnor_gradient(up[i], a, d, one_nth);
      }
    }
  });
}

}  // namespace halftone::kernels
