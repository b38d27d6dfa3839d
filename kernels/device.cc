#include "kernels/device.h"

namespace halftone::kernels {

void throw_no_device_body(const char* op, const Tensor& x) {
  throw HALFTONE_ERROR(op)
      .expected("an operation with a body for " + name_of(x.context().device()))
      .found("one that runs on the CPU only")
      .fix("run on the CPU (--device cpu)");
}

}  // namespace halftone::kernels
