#include "kernels/optimizer.h"

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include <cmath>
#include <string>

#include "kernels/check.h"
#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kGrain = 16384;

void check_flat(const char* op, const char* name, const Tensor& x, const Tensor& p) {
  check_dtype(op, name, x, DType::kFloat32);
  if (x.numel() == p.numel()) return;
  throw HALFTONE_ERROR(op)
      .expected(std::string(name) + " with as many elements as the parameters, " +
                std::to_string(p.numel()))
      .found(std::to_string(x.numel()));
}

// torch.optim.SGD: d = g + wd p; b = m b + (1 - dampening) d; d = d + m b or b; p = p - lr d.
template <bool kMomentum, bool kNesterov>
void sgd(const Context& context, const SgdOptions& o, int64_t n, const float* grad, float* p,
         float* buffer) {
  const float decay = o.weight_decay, momentum = o.first_step ? 0.0 : o.momentum;
  const float take = o.first_step ? 1.0 : 1.0 - o.dampening, minus_lr = -o.lr;
  const float ahead = o.momentum;
  const bool first = o.first_step;
  parallel_for(context, n, kGrain, [=](int64_t begin, int64_t end) {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
      float d = grad[i] + decay * p[i];
      if (kMomentum) {
        // The old buffer is not read into the result on the first step: it may hold anything.
        const float kept = first ? 0.0f : buffer[i] * momentum;
        const float b = kept + take * d;
        buffer[i] = b;
        d = kNesterov ? d + ahead * b : b;
      }
      p[i] += minus_lr * d;
    }
  });
}

struct AdamConstants {
  float keep_weight, decay, take1, beta2, take2, eps, minus_step;
};

AdamConstants constants(const AdamOptions& o) {
  const double step = static_cast<double>(o.step);
  const double correction1 = 1.0 - std::pow(o.beta1, step);
  const double correction2 = 1.0 - std::pow(o.beta2, step);
  AdamConstants c;
  c.keep_weight = o.decoupled ? 1.0 - o.lr * o.weight_decay : 1.0;
  c.decay = o.decoupled ? 0.0 : o.weight_decay;
  c.take1 = 1.0 - o.beta1;
  c.beta2 = o.beta2;
  c.take2 = 1.0 - o.beta2;
  // m / (sqrt(v) / root + eps) with both sides of the fraction times root: one division less.
  const double root = std::sqrt(correction2);
  c.eps = o.eps * root;
  c.minus_step = -(o.lr / correction1) * root;
  return c;
}

// While alive, denormal numbers count as zero on this thread. The moving averages of a gradient
// that stays zero (a dead ReLU) decay into denormals, which are a hundred times slower to compute
// with.
class FlushDenormals {
 public:
#ifdef __SSE__
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }  // FTZ and DAZ
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#else
  FlushDenormals() {}
#endif
};

// torch's lerp: the end that is nearer is the one that is corrected.
template <bool kNearStart>
inline float lerp(float start, float end, float weight) {
  const float difference = end - start;
  return kNearStart ? start + weight * difference : end - difference * (1.0f - weight);
}

template <bool kNearStart>
void adam(const Context& context, const AdamConstants& c, int64_t n, const float* grad, float* p,
          float* m, float* v) {
  parallel_for(context, n, kGrain, [=](int64_t begin, int64_t end) {
    const FlushDenormals flush;
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
      const float weight = p[i] * c.keep_weight;
      const float g = grad[i] + c.decay * p[i];
      const float first = lerp<kNearStart>(m[i], g, c.take1);
      const float second = v[i] * c.beta2 + c.take2 * g * g;
      const float denominator = std::sqrt(second) + c.eps;
      m[i] = first;
      v[i] = second;
      p[i] = weight + c.minus_step * first / denominator;
    }
  });
}

}  // namespace

void sgd_step(const SgdOptions& options, const Tensor& grad, Tensor& p, Tensor& momentum_buffer) {
  check_dtype("sgd", "parameters", p, DType::kFloat32);
  check_flat("sgd", "grad", grad, p);
  const bool nesterov = options.nesterov;
  if (nesterov && (options.momentum <= 0.0 || options.dampening != 0.0)) {
    throw HALFTONE_ERROR("sgd")
        .expected("momentum above 0 and dampening 0 with Nesterov")
        .found("momentum " + std::to_string(options.momentum) + ", dampening " +
               std::to_string(options.dampening));
  }
  const float* g = grad.data<float>();
  const Context& context = p.context();
  if (options.momentum == 0.0) {
    return sgd<false, false>(context, options, p.numel(), g, p.data<float>(), nullptr);
  }
  check_flat("sgd", "momentum buffer", momentum_buffer, p);
  float* buffer = momentum_buffer.data<float>();
  auto* run = nesterov ? &sgd<true, true> : &sgd<true, false>;
  run(context, options, p.numel(), g, p.data<float>(), buffer);
}

void adam_step(const AdamOptions& options, const Tensor& grad, Tensor& p, Tensor& exp_avg,
               Tensor& exp_avg_sq) {
  check_dtype("adam", "parameters", p, DType::kFloat32);
  check_flat("adam", "grad", grad, p);
  check_flat("adam", "exp_avg", exp_avg, p);
  check_flat("adam", "exp_avg_sq", exp_avg_sq, p);
  if (options.step < 1) {
    throw HALFTONE_ERROR("adam")
        .expected("a step of 1 or more")
        .found(std::to_string(options.step));
  }
  const AdamConstants c = constants(options);
  auto* run = c.take1 < 0.5f ? &adam<true> : &adam<false>;
  run(p.context(), c, p.numel(), grad.data<float>(), p.data<float>(), exp_avg.data<float>(),
      exp_avg_sq.data<float>());
}

}  // namespace halftone::kernels
