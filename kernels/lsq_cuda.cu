#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/quantize.h"
#include "kernels/quantize_cuda.h"

namespace halftone::kernels::cuda {

void lsq_backward(Stream& stream, const LsqBackwardArgs& args) {
  StreamLauncher launcher(stream);
  launch_lsq_backward(launcher, args);
}

}  // namespace halftone::kernels::cuda
