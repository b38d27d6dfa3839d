// Numbers of layers and quantizers that the host computes with, wherever they lie. Inside //quant
// only.
#pragma once

#include <algorithm>
#include <vector>

#include "tensor/tensor.h"

namespace halftone {

// The values in the host's memory: a copy, which waits for the device, or on the CPU t itself.
inline Tensor at_home(const Tensor& t) { return t.on_host() ? t : t.to(t.context().host()); }

// float32 or int32, as many as `out` has.
template <class T>
void assign(const std::vector<T>& values, Tensor& out) {
  if (out.on_host()) {
    std::copy(values.begin(), values.end(), out.data<T>());
  } else {
    out.copy_from(Tensor::from(out.context().host(), out.shape(), values));
  }
}

inline void assign(const std::vector<double>& values, Tensor& out) {
  assign(std::vector<float>(values.begin(), values.end()), out);
}

}  // namespace halftone
