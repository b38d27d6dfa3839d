// activation.h, batch_norm.h and pool.h on a device.
#include "kernels/activation_cuda.h"
#include "kernels/batch_norm.h"
#include "kernels/batch_norm_cuda.h"
#include "kernels/codes_cuda.h"
#include "kernels/device_call.h"
#include "kernels/elementwise_cuda.h"
#include "kernels/pool_cuda.h"

namespace halftone::kernels {
namespace {

void activation_body(const Tensor& x, const ActivationOptions& options, Tensor& y) {
  const DevicePointers p(x);
  cuda::activation(stream_of(x), {x.numel(), options, p.in(x), p.out(y)});
}

void add_activation_body(const Tensor& a, const Tensor& b, const ActivationOptions& options,
                         Tensor& y) {
  const DevicePointers p(a);
  cuda::add(stream_of(a), {a.numel(), options, p.in(a), p.in(b), p.out(y)});
}

void activation_backward_body(const Tensor& dy, const Tensor& y, const ActivationOptions& options,
                              Tensor& dx) {
  const DevicePointers p(dy);
  cuda::activation_backward(stream_of(dy), {dy.numel(), options, p.in(dy), p.in(y), p.out(dx)});
}

void dropout_body(const Tensor& x, float probability, const Philox& stream, Tensor& y) {
  const DevicePointers p(x);
  cuda::dropout(stream_of(x), {x.numel(), probability, stream, p.in(x), p.out(y)});
}

// ---- batch norm ----

void statistics_body(const Tensor& x, Tensor& mean, Tensor& variance) {
  const DevicePointers p(x);
  cuda::batch_norm_statistics(stream_of(x),
                              {rows_of(x), x.dim(-1), p.in(x), p.out(mean), p.out(variance)});
}

void update_body(const Tensor& mean, const Tensor& variance, int64_t count, float momentum,
                 Tensor& running_mean, Tensor& running_variance) {
  const DevicePointers p(mean);
  cuda::batch_norm_update(stream_of(mean),
                          {count, mean.numel(), momentum, p.in(mean), p.in(variance),
                           p.out(running_mean), p.out(running_variance)});
}

cuda::NormInputs inputs_of(const DevicePointers& p, const Normalization& norm) {
  return {p.in(norm.mean),
          p.in(norm.variance),
          p.in_or_null(norm.weight),
          p.in_or_null(norm.bias),
          norm.eps,
          norm.act};
}

void apply_body(const Tensor& x, const Normalization& norm, Tensor& y, const Tensor* addend) {
  const DevicePointers p(x);
  cuda::batch_norm_apply(stream_of(x), {rows_of(x), x.dim(-1), inputs_of(p, norm), p.in(x),
                                        p.in_or_null(addend), p.out(y)});
}

void norm_sign_body(const Tensor& x, const Normalization& norm, Tensor& y) {
  const DevicePointers p(x);
  cuda::batch_norm_quantize(
      stream_of(x),
      {rows_of(x), x.dim(-1), inputs_of(p, norm), cuda::NormOutput::kSign, {}, p.in(x), p.out(y)});
}

void norm_backward_body(const Tensor& dy, const Tensor& x, const Tensor* y,
                        const Normalization& norm, bool use_batch_statistics,
                        const BatchNormGradients& gradients) {
  const DevicePointers p(x);
  Tensor coefficients = Tensor::empty(x.context(), {2, x.dim(-1)});
  cuda::BatchNormBackwardArgs args;
  args.rows = rows_of(x), args.channels = x.dim(-1);
  args.norm = inputs_of(p, norm), args.use_batch_statistics = use_batch_statistics;
  args.dy = p.in(dy), args.x = p.in(x), args.y = p.in_or_null(y);
  args.dx = p.out(*gradients.x), args.dweight = p.out_or_null(gradients.weight);
  args.dbias = p.out_or_null(gradients.bias);
  args.daddend = y != nullptr ? p.out_or_null(gradients.addend) : nullptr;
  args.coefficients = p.out(coefficients);
  cuda::batch_norm_backward(stream_of(x), args);
}

// ---- pooling ----

void max_pool(const Tensor& x, const Pool2dOptions& options, Tensor& y, uint8_t* taps) {
  const DevicePointers p(x);
  const cuda::PoolGeometry g = pool_geometry(x, y, options);
  if (x.dtype() == DType::kUInt8) {
    cuda::max_pool_whole(stream_of(x),
                         {g, x.dtype(), nullptr, p.in<uint8_t>(x), p.out<uint8_t>(y), taps});
  } else {
    cuda::max_pool2d(stream_of(x), {g, p.in(x), p.out(y), taps});
  }
}

void max_pool_body(const Tensor& x, const Pool2dOptions& options, Tensor& y) {
  max_pool(x, options, y, nullptr);
}

void max_pool_with_taps_body(const Tensor& x, const Pool2dOptions& options, Tensor& y,
                             Tensor& taps) {
  max_pool(x, options, y, DevicePointers(x).out<uint8_t>(taps));
}

void max_pool_backward_body(const Tensor& dy, const Tensor& y, const Tensor& taps,
                            const Pool2dOptions& options, Tensor& dx) {
  const DevicePointers p(dy);
  const bool masks = options.act.kind != Activation::kIdentity;
  cuda::max_pool2d_backward(stream_of(dy),
                            {pool_geometry(dx, dy, options), p.in(dy), masks ? p.in(y) : nullptr,
                             p.in<uint8_t>(taps), p.out(dx)});
}

void average(const Tensor& x, const Pool2dOptions& options, bool adaptive, Tensor& y) {
  const DevicePointers p(x);
  cuda::avg_pool2d(stream_of(x), {pool_geometry(x, y, options), adaptive, p.in(x), p.out(y)});
}

void spread(const Tensor& dy, const Pool2dOptions& options, bool adaptive, Tensor& dx) {
  const DevicePointers p(dy);
  cuda::avg_pool2d_backward(stream_of(dy),
                            {pool_geometry(dx, dy, options), adaptive, p.in(dy), p.out(dx)});
}

void avg_pool_body(const Tensor& x, const Pool2dOptions& options, Tensor& y) {
  average(x, options, false, y);
}
void avg_pool_backward_body(const Tensor& dy, const Pool2dOptions& options, Tensor& dx) {
  spread(dy, options, false, dx);
}
void adaptive_body(const Tensor& x, Tensor& y) { average(x, {}, true, y); }
void adaptive_backward_body(const Tensor& dy, Tensor& dx) { spread(dy, {}, true, dx); }

[[maybe_unused]] const bool registered = [] {
  device_body<& activation> = activation_body;
  device_body<& add_activation> = add_activation_body;
  device_body<& activation_backward> = activation_backward_body;
  device_body<& dropout> = dropout_body;
  device_body<& batch_norm_statistics> = statistics_body;
  device_body<& batch_norm_update> = update_body;
  device_body<& batch_norm_apply> = apply_body;
  device_body<& batch_norm_sign> = norm_sign_body;
  device_body<& batch_norm_backward> = norm_backward_body;
  device_body<& max_pool2d> = max_pool_body;
  device_body<& max_pool2d_with_taps> = max_pool_with_taps_body;
  device_body<& max_pool2d_backward> = max_pool_backward_body;
  device_body<& avg_pool2d> = avg_pool_body;
  device_body<& avg_pool2d_backward> = avg_pool_backward_body;
  device_body<& adaptive_avg_pool2d> = adaptive_body;
  device_body<& adaptive_avg_pool2d_backward> = adaptive_backward_body;
  return true;
}();

}  // namespace
}  // namespace halftone::kernels
