// Work on a device: pointers, the stream, kernels by name, and numbers that come back.
#pragma once

#include "kernels/cuda/stream.h"
#include "kernels/cuda/walk.h"
#include "kernels/device.h"
#include "kernels/pool_cuda.h"

namespace halftone::kernels {

inline cuda::Stream& stream_of(const Tensor& x) {
  return *static_cast<cuda::Stream*>(x.context().runtime()->stream());
}

// The device pointer; throws when T is not the dtype, or the tensor lies elsewhere than `home`.
void check_on_device(const Tensor& x, const Context& home, DType wanted);

class DevicePointers {
 public:
  explicit DevicePointers(const Tensor& x) : home_(x.context()) {}
  template <class T = float>
  const T* in(const Tensor& x) const {
    check_on_device(x, home_, DTypeOf<T>::value);
    return static_cast<const T*>(x.raw());
  }
  template <class T = float>
  T* out(Tensor& x) const {
    check_on_device(x, home_, DTypeOf<T>::value);
    return static_cast<T*>(x.raw());
  }
  const float* in_or_null(const Tensor* x) const { return x != nullptr ? in(*x) : nullptr; }
  float* out_or_null(Tensor* x) const { return x != nullptr ? out(*x) : nullptr; }

 private:
  const Context& home_;
};

// Of (rows, channels): what stands before the last dimension.
inline int64_t rows_of(const Tensor& x) { return x.dim(-1) == 0 ? 0 : x.numel() / x.dim(-1); }

// (outer, channels, inner) of a tensor whose channels stand on `axis`; -1: one channel.
inline cuda::ChannelLayout channel_layout(const Shape& shape, int axis) {
  if (axis < 0) return {1, 1, shape.numel()};
  cuda::ChannelLayout l{1, shape[axis], 1};
  for (int a = 0; a < axis; ++a) l.outer *= shape[a];
  for (int a = axis + 1; a < shape.rank(); ++a) l.inner *= shape[a];
  return l;
}

inline cuda::PoolGeometry pool_geometry(const Tensor& x, const Tensor& y,
                                        const Pool2dOptions& options) {
  return {x.dim(0), x.dim(1), x.dim(2), x.dim(3), y.dim(1), y.dim(2), options};
}

// A kernel of cuda/all_kernels.h where x lies, for work that no function on tensors describes.
// Programs without a device need not define it.
template <auto kKernel, class Args>
void launch(const Tensor& x, const Args& args) {
  device_body_of<kKernel>("kernel", x)(stream_of(x), args);
}

// Room for `count` values of any plain type on x's device, for as long as it lives.
template <class T>
class DeviceRoom {
 public:
  DeviceRoom(const Context& context, int64_t count)
      : count_(count),
        words_(Tensor::empty(context, {count * static_cast<int64_t>(sizeof(T))}, DType::kUInt8)) {}
  DeviceRoom(const Context& context, const std::vector<T>& values)
      : DeviceRoom(context, static_cast<int64_t>(values.size())) {
    context.runtime()->copy(words_.raw(), values.data(), values.size() * sizeof(T),
                            CopyKind::kToDevice);
  }
  T* data() { return static_cast<T*>(words_.raw()); }
  const T* data() const { return static_cast<const T*>(words_.raw()); }
  std::vector<T> values() const {  // waits for the device
    std::vector<T> out(count_);
    words_.context().runtime()->copy(out.data(), words_.raw(), out.size() * sizeof(T),
                                     CopyKind::kToHost);
    return out;
  }

 private:
  int64_t count_;
  Tensor words_;
};

}  // namespace halftone::kernels
