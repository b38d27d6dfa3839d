#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/loss.h"

namespace halftone::kernels::cuda {

HALFTONE_LOSS_KERNELS(HALFTONE_DEFINE_KERNEL)

}  // namespace halftone::kernels::cuda
