#include "kernels/cuda/augment.h"
#include "kernels/cuda/launch.cuh"

namespace halftone::kernels::cuda {

HALFTONE_AUGMENT_KERNELS(HALFTONE_DEFINE_KERNEL)

}  // namespace halftone::kernels::cuda
