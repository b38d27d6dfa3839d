#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/optimizer.h"

namespace halftone::kernels::cuda {

void adam_step(Stream& stream, const AdamArgs& args) {
  StreamLauncher launcher(stream);
  launch_adam(launcher, args);
}

}  // namespace halftone::kernels::cuda
