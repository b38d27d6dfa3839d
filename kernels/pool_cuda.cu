#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/pool.h"

namespace halftone::kernels::cuda {

HALFTONE_POOL_KERNELS(HALFTONE_DEFINE_KERNEL)

}  // namespace halftone::kernels::cuda
