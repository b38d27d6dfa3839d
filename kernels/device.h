// How a kernel finds its body on a device: one function per kernel, found by the kernel's own.
#pragma once

#include "tensor/tensor.h"

namespace halftone::kernels {

// Null where there is none; //kernels:device_bodies sets them before main.
template <auto kKernel>
inline decltype(kKernel) device_body = nullptr;

[[noreturn]] void throw_no_device_body(const char* op, const Tensor& x);

template <auto kKernel>
decltype(kKernel) device_body_of(const char* op, const Tensor& x) {
  if (device_body<kKernel> == nullptr) throw_no_device_body(op, x);
  return device_body<kKernel>;
}

// First line of a kernel's body on the CPU, behind its checks: where x lies on a device, calls that
// device's body with the arguments and returns. An Error names op and device where there is none.
#define HALFTONE_ON_DEVICE(kernel, x, ...) \
  if (!(x).on_host()) return device_body_of<&kernel>(#kernel, x)(__VA_ARGS__)

}  // namespace halftone::kernels
