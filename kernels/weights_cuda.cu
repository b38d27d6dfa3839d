#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/weights.h"

namespace halftone::kernels::cuda {

HALFTONE_WEIGHT_KERNELS(HALFTONE_DEFINE_KERNEL)

}  // namespace halftone::kernels::cuda
