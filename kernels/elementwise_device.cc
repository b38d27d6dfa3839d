// elementwise.h, pad.h and column_sums.h on a device.
#include "kernels/column_sums.h"
#include "kernels/device_call.h"
#include "kernels/elementwise.h"
#include "kernels/elementwise_cuda.h"
#include "kernels/pad.h"

namespace halftone::kernels {
namespace {

void add_body(const Tensor& a, const Tensor& b, Tensor& y) {
  const DevicePointers p(a);
  cuda::add(stream_of(a), {a.numel(), {}, p.in(a), p.in(b), p.out(y)});
}

void accumulate_body(const Tensor& x, Tensor& y) { add_body(y, x, y); }

void mul_body(const Tensor& a, const Tensor& b, Tensor& y) {
  const DevicePointers p(a);
  cuda::multiply(stream_of(a), {a.numel(), p.in(a), p.in(b), p.out(y)});
}

void scale_body(const Tensor& x, float factor, Tensor& y) {
  const DevicePointers p(x);
  cuda::scale(stream_of(x), {x.numel(), factor, p.in(x), p.out(y)});
}

void scale_by_body(const Tensor& x, const Tensor& factor, Tensor& y) {
  const DevicePointers p(x);
  cuda::scale(stream_of(x), {x.numel(), 1.0f, p.in(x), p.out(y), p.in(factor)});
}

int64_t row_bytes(const Tensor& x) { return x.dim(-1) * static_cast<int64_t>(size_of(x.dtype())); }

void concat_body(const std::vector<Tensor>& xs, Tensor& y) {
  const int64_t whole = row_bytes(y), rows = y.dim(-1) == 0 ? 0 : y.numel() / y.dim(-1);
  char* to = static_cast<char*>(y.raw());
  for (const Tensor& x : xs) {
    const int64_t width = row_bytes(x);
    cuda::copy_rows(stream_of(y), {rows, width, width, whole, x.raw(), to});
    to += width;
  }
}

void split_body(const Tensor& dy, std::vector<Tensor>& dxs) {
  const int64_t whole = row_bytes(dy), rows = dy.dim(-1) == 0 ? 0 : dy.numel() / dy.dim(-1);
  const char* from = static_cast<const char*>(dy.raw());
  for (Tensor& dx : dxs) {
    const int64_t width = row_bytes(dx);
    cuda::copy_rows(stream_of(dy), {rows, width, whole, width, from, dx.raw()});
    from += width;
  }
}

void transpose_body(const Tensor& x, int64_t batch, int64_t rows, int64_t columns, Tensor& y) {
  const int element = static_cast<int>(size_of(x.dtype()));
  cuda::transpose(stream_of(x), {batch, rows, columns, element, x.raw(), y.raw()});
}

void to_nchw_body(const Tensor& x, Tensor& y) {
  transpose_body(x, x.dim(0), x.dim(1) * x.dim(2), x.dim(3), y);
}

void to_nhwc_body(const Tensor& x, Tensor& y) {
  transpose_body(x, x.dim(0), x.dim(1), x.dim(2) * x.dim(3), y);
}

// small (n, h, w, c), large (n, oh, ow, wide).
template <class Args>
Args subsample_args(const Tensor& small, const Tensor& large, int stride, int pad_before) {
  Args args;
  args.n = small.dim(0), args.h = small.dim(1), args.w = small.dim(2), args.c = small.dim(3);
  args.oh = large.dim(1), args.ow = large.dim(2), args.wide = large.dim(3);
  args.stride = stride, args.pad_before = pad_before;
  return args;
}

void subsample_body(const Tensor& x, int stride, int pad_before, Tensor& y, int fill) {
  const DevicePointers p(x);
  auto args = subsample_args<cuda::SubsampleArgs>(x, y, stride, pad_before);
  args.fill = static_cast<float>(fill), args.dtype = x.dtype();
  const bool codes = x.dtype() == DType::kUInt8;
  args.x = codes ? static_cast<const void*>(p.in<uint8_t>(x)) : p.in(x);
  args.y = codes ? static_cast<void*>(p.out<uint8_t>(y)) : p.out(y);
  cuda::subsample_pad(stream_of(x), args);
}

void subsample_backward_body(const Tensor& dy, int stride, int pad_before, Tensor& dx) {
  const DevicePointers p(dy);
  auto args = subsample_args<cuda::SubsampleBackwardArgs>(dx, dy, stride, pad_before);
  args.x = p.in(dy), args.y = p.out(dx);
  cuda::subsample_pad_backward(stream_of(dy), args);
}

template <class Args>
Args frame_args(const Tensor& small, const Tensor& large) {
  Args args;
  args.n = small.dim(0), args.h = small.dim(1), args.w = small.dim(2), args.c = small.dim(3);
  args.top = (large.dim(1) - args.h) / 2, args.left = (large.dim(2) - args.w) / 2;
  return args;
}

void pad_body(const Tensor& x, float value, Tensor& y) {
  const DevicePointers p(x);
  auto args = frame_args<cuda::FrameArgs>(x, y);
  args.value = value, args.x = p.in(x), args.y = p.out(y);
  cuda::pad_images(stream_of(x), args);
}

void pad_backward_body(const Tensor& dy, Tensor& dx) {
  const DevicePointers p(dy);
  auto args = frame_args<cuda::FrameBackwardArgs>(dx, dy);
  args.x = p.in(dy), args.y = p.out(dx);
  cuda::pad_images_backward(stream_of(dy), args);
}

double sum_body(const Tensor& x) {
  DeviceRoom<double> total(x.context(), 1);
  cuda::inspect(stream_of(x), {x.numel(), DevicePointers(x).in(x), total.data(), nullptr});
  return total.values()[0];
}

bool all_finite_body(const Tensor& x) {
  DeviceRoom<int32_t> flag(x.context(), 1);
  cuda::inspect(stream_of(x), {x.numel(), DevicePointers(x).in(x), nullptr, flag.data()});
  return flag.values()[0] != 0;
}

void column_sums_body(const Tensor& x, Tensor& out) {
  const DevicePointers p(x);
  const int64_t columns = out.numel();
  cuda::column_sums(stream_of(x),
                    {columns == 0 ? 0 : x.numel() / columns, columns, p.in(x), p.out(out)});
}

[[maybe_unused]] const bool registered = [] {
  device_body<& add> = add_body;
  device_body<& accumulate> = accumulate_body;
  device_body<& mul> = mul_body;
  device_body<& scale> = scale_body;
  device_body<& scale_by> = scale_by_body;
  device_body<& concat_channels> = concat_body;
  device_body<& split_channels> = split_body;
  device_body<& nhwc_to_nchw> = to_nchw_body;
  device_body<& nchw_to_nhwc> = to_nhwc_body;
  device_body<& subsample_pad> = subsample_body;
  device_body<& subsample_pad_backward> = subsample_backward_body;
  device_body<& pad_images> = pad_body;
  device_body<& pad_images_backward> = pad_backward_body;
  device_body<& sum> = sum_body;
  device_body<& all_finite> = all_finite_body;
  device_body<& column_sums> = column_sums_body;
  return true;
}();

}  // namespace
}  // namespace halftone::kernels
