#include "kernels/cuda/batch_norm_backward.h"
#include "kernels/cuda/launch.cuh"

namespace halftone::kernels::cuda {

HALFTONE_BATCH_NORM_KERNELS(HALFTONE_DEFINE_KERNEL)

}  // namespace halftone::kernels::cuda
