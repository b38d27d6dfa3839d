// Codes of quantize.h, add_codes.h and pool.h on a device.
#include "kernels/add_codes.h"
#include "kernels/codes_cuda.h"
#include "kernels/device_call.h"
#include "kernels/pool.h"
#include "kernels/quantize.h"
#include "kernels/quantize_cuda.h"

namespace halftone::kernels {
namespace {

void quantize_body(const Tensor& x, const quant_math::Grid& grid, quant_math::Rounding rounding,
                   Tensor& codes) {
  const DevicePointers p(x);
  DeviceRoom<float> scale(x.context(), std::vector<float>{grid.scale});
  DeviceRoom<int32_t> zero_point(x.context(), std::vector<int32_t>{grid.zero_point});
  cuda::QuantizeArgs args;
  args.layout = {1, 1, x.numel()};
  args.grids = {scale.data(), zero_point.data(), nullptr, grid.qmin, grid.qmax};
  args.rounding = rounding;
  args.x = p.in(x), args.codes = p.out<uint8_t>(codes);
  cuda::quantize(stream_of(x), args);
}

void reals_body(const Codes& codes, Tensor& y) {
  const DevicePointers p(codes.values);
  cuda::ReadCodesArgs args;
  args.layout = {1, 1, y.numel()};
  args.code_dtype = codes.values.dtype();
  args.zero_point = codes.params.zero_point, args.scale = codes.params.scale;
  if (codes.scale.defined()) args.scales = p.in(codes.scale);
  if (codes.zero_point.defined()) args.zero_points = p.in<int32_t>(codes.zero_point);
  args.codes = codes.values.raw(), args.y = p.out(y);
  cuda::read_codes(stream_of(y), args);
}

void integers_body(const Tensor& codes, int32_t zero_point, Tensor& y) {
  reals_body({codes, {1.0f, zero_point}}, y);
}

void weight_integers_body(const Tensor& codes, Tensor& y) { reals_body({codes, {}}, y); }

void weight_reals_body(const Tensor& codes, const std::vector<float>& scales,
                       const std::vector<int32_t>& offsets, Tensor& y) {
  const DevicePointers p(codes);
  const int64_t rows = codes.dim(0);
  std::vector<int32_t> zeros(rows);
  for (size_t r = 0; r < offsets.size(); ++r) zeros[r] = -offsets[r];
  DeviceRoom<float> room(codes.context(), scales);
  DeviceRoom<int32_t> zero_points(codes.context(), zeros);
  cuda::ReadCodesArgs args;
  args.layout = {1, rows, rows == 0 ? 0 : codes.numel() / rows};
  args.code_dtype = DType::kInt8;
  args.scales = room.data(), args.zero_points = zero_points.data();
  args.codes = p.in<int8_t>(codes), args.y = p.out(y);
  cuda::read_codes(stream_of(y), args);
}

void quantize_weights_body(const Tensor& w, const WeightCodes& options, Tensor& codes) {
  const DevicePointers p(w);
  std::vector<float> scales;
  std::vector<int32_t> zeros, offsets = options.offsets;
  for (const quant_math::Grid& g : options.grids) {
    scales.push_back(g.scale);
    zeros.push_back(g.zero_point);
  }
  offsets.resize(w.dim(0));
  std::vector<int32_t> factors(w.dim(0), 1 << options.shift);
  for (size_t r = 0; r < options.negated.size(); ++r) factors[r] *= options.negated[r] ? -1 : 1;
  DeviceRoom<float> scale(w.context(), scales);
  DeviceRoom<int32_t> zero_point(w.context(), zeros), factor(w.context(), factors);
  DeviceRoom<int32_t> offset(w.context(), offsets);
  cuda::WeightCodesArgs args;
  args.rows = w.dim(0), args.length = args.rows == 0 ? 0 : w.numel() / args.rows;
  args.per_row = scales.size() > 1;
  args.grids = {scale.data(), zero_point.data(), nullptr, options.grids[0].qmin,
                options.grids[0].qmax};
  args.factors = factor.data(), args.offsets = offset.data();
  args.w = p.in(w), args.codes = p.out<int8_t>(codes);
  cuda::weight_codes(stream_of(w), args);
}

void drop_body(const Tensor& codes, const Tensor& mask, uint8_t zero, Tensor& y) {
  const DevicePointers p(codes);
  cuda::drop_codes(stream_of(codes),
                   {codes.numel(), zero, p.in<uint8_t>(codes), p.in(mask), p.out<uint8_t>(y)});
}

// ---- sums ----

// Waits for the device.
SumRange add_body(const Tensor& a, const Tensor& b, const CodeSum& sum, Tensor& y) {
  const DevicePointers p(a);
  DeviceRoom<SumRange> range(a.context(), 1);
  cuda::add_codes(stream_of(a), {a.numel(), sum, p.in<uint8_t>(a), p.in<uint8_t>(b),
                                 p.out<uint8_t>(y), range.data()});
  return range.values()[0];
}

void add_backward_body(const Tensor& dy, const Tensor& a, const Tensor& b, const CodeSum& sum,
                       Tensor& dt) {
  const DevicePointers p(dy);
  cuda::add_codes_backward(
      stream_of(dy), {dy.numel(), sum, p.in(dy), p.in<uint8_t>(a), p.in<uint8_t>(b), p.out(dt)});
}

// Waits for the device.
double weighted_body(const Tensor& dy, const Tensor& a, const Tensor& b,
                     const std::vector<float>& shares) {
  const DevicePointers p(dy);
  DeviceRoom<float> table(dy.context(), shares);
  DeviceRoom<double> total(dy.context(), 1);
  cuda::weighted_codes(stream_of(dy), {dy.numel(), p.in(dy), p.in<uint8_t>(a), p.in<uint8_t>(b),
                                       table.data(), total.data()});
  return total.values()[0];
}

// ---- windows ----

void pool_body(const Tensor& acc, const std::vector<char>& falling, const Pool2dOptions& options,
               Tensor& y, Tensor* taps) {
  const DevicePointers p(acc);
  std::vector<int32_t> flips;
  for (const char falls : falling) flips.push_back(falls ? -1 : 0);
  DeviceRoom<int32_t> room(acc.context(), flips);
  cuda::max_pool_whole(stream_of(acc), {pool_geometry(acc, y, options), DType::kInt32, room.data(),
                                        p.in<int32_t>(acc), p.out<int32_t>(y),
                                        taps == nullptr ? nullptr : p.out<uint8_t>(*taps)});
}

void windows_body(const Tensor& codes, int32_t zero_point, const Pool2dOptions& options,
                  Tensor& sums) {
  const DevicePointers p(codes);
  cuda::code_windows(stream_of(codes), {pool_geometry(codes, sums, options), zero_point,
                                        p.in<uint8_t>(codes), p.out<int32_t>(sums)});
}

[[maybe_unused]] const bool registered = [] {
  device_body<& quantize_to_codes> = quantize_body;
  device_body<& codes_to_reals> = reals_body;
  device_body<& codes_to_integers> = integers_body;
  device_body<& weights_to_integers> = weight_integers_body;
  device_body<& weights_to_reals> = weight_reals_body;
  device_body<& quantize_weights> = quantize_weights_body;
  device_body<& drop_codes> = drop_body;
  device_body<& add_codes> = add_body;
  device_body<& add_codes_backward> = add_backward_body;
  device_body<& add_codes_weighted_sum> = weighted_body;
  device_body<& max_pool2d_accumulators> = pool_body;
  device_body<& sum_code_windows> = windows_body;
  return true;
}();

}  // namespace
}  // namespace halftone::kernels
