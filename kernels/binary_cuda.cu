#include "kernels/cuda/binary.h"
#include "kernels/cuda/launch.cuh"

namespace halftone::kernels::cuda {

void sign(Stream& stream, const SignArgs& args) {
  StreamLauncher launcher(stream);
  launch_sign(launcher, args);
}

void sign_backward(Stream& stream, const SignBackwardArgs& args) {
  StreamLauncher launcher(stream);
  launch_sign_backward(launcher, args);
}

}  // namespace halftone::kernels::cuda
