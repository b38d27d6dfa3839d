#include "kernels/optimizer.h"

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include <string>

#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/optimizer_math.h"
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

template <bool kMomentum, bool kNesterov>
void sgd(const Context& context, const SgdConstants& c, int64_t n, const float* grad, float* p,
         float* buffer) {
  parallel_for(context, n, kGrain, [=](int64_t begin, int64_t end) {
    const SgdConstants k = c;
    float none = 0.0f;
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
      sgd_element<kMomentum, kNesterov>(k, grad[i], p[i], kMomentum ? buffer[i] : none);
    }
  });
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

template <bool kNearStart>
void adam(const Context& context, const AdamConstants& c, int64_t n, const float* grad, float* p,
          float* m, float* v) {
  parallel_for(context, n, kGrain, [=](int64_t begin, int64_t end) {
    const FlushDenormals flush;
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
      adam_element<kNearStart>(c, grad[i], p[i], m[i], v[i]);
    }
  });
}

}  // namespace

void sgd_step(const SgdOptions& options, const Tensor& grad, Tensor& p, Tensor& momentum_buffer) {
  check_dtype("sgd", "parameters", p, DType::kFloat32);
  check_flat("sgd", "grad", grad, p);
  check_sgd(options);
  HALFTONE_ON_DEVICE(sgd_step, p, options, grad, p, momentum_buffer);
  const bool nesterov = options.nesterov;
  const float* g = grad.data<float>();
  const Context& context = p.context();
  const SgdConstants c = sgd_constants(options);
  if (options.momentum == 0.0) {
    return sgd<false, false>(context, c, p.numel(), g, p.data<float>(), nullptr);
  }
  check_flat("sgd", "momentum buffer", momentum_buffer, p);
  float* buffer = momentum_buffer.data<float>();
  auto* run = nesterov ? &sgd<true, true> : &sgd<true, false>;
  run(context, c, p.numel(), g, p.data<float>(), buffer);
}

void adam_step(const AdamOptions& options, const Tensor& grad, Tensor& p, Tensor& exp_avg,
               Tensor& exp_avg_sq) {
  check_dtype("adam", "parameters", p, DType::kFloat32);
  check_flat("adam", "grad", grad, p);
  check_flat("adam", "exp_avg", exp_avg, p);
  check_flat("adam", "exp_avg_sq", exp_avg_sq, p);
  check_adam(options);
  HALFTONE_ON_DEVICE(adam_step, p, options, grad, p, exp_avg, exp_avg_sq);
  const AdamConstants c = adam_constants(options);
  auto* run = c.take1 < 0.5f ? &adam<true> : &adam<false>;
  run(p.context(), c, p.numel(), grad.data<float>(), p.data<float>(), exp_avg.data<float>(),
      exp_avg_sq.data<float>());
}

}  // namespace halftone::kernels
