#include "kernels/device_call.h"

namespace halftone::kernels {

void check_on_device(const Tensor& x, const Context& home, DType wanted) {
  if (x.dtype() == wanted && x.context() == home) return;
  throw HALFTONE_ERROR("kernel")
      .expected(name_of(wanted) + " on " + name_of(home.device()))
      .found(name_of(x.dtype()) + " " + x.shape().str() + " on " + name_of(x.context().device()))
      .fix("move it there: tensor.to(context)");
}

}  // namespace halftone::kernels
