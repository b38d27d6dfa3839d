#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/optimizer.h"

namespace halftone::kernels::cuda {

void sgd_step(Stream& stream, const SgdArgs& args) {
  StreamLauncher launcher(stream);
  launch_sgd(launcher, args);
}

}  // namespace halftone::kernels::cuda
