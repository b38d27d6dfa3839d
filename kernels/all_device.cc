// Every kernel for launch() of device_call.h.
#include "kernels/cuda/all_kernels.h"
#include "kernels/device_call.h"

namespace halftone::kernels {
namespace {

#define HALFTONE_SET_KERNEL(name, Args) device_body<& cuda::name> = cuda::name;

[[maybe_unused]] const bool registered = [] {
  HALFTONE_ALL_KERNELS(HALFTONE_SET_KERNEL)
  return true;
}();

}  // namespace
}  // namespace halftone::kernels
