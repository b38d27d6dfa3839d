#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/optimizer.h"

namespace halftone::kernels::cuda {

HALFTONE_SGD_KERNELS(HALFTONE_DEFINE_KERNEL)

}  // namespace halftone::kernels::cuda
