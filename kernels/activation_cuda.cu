#include "kernels/cuda/activation.h"
#include "kernels/cuda/launch.cuh"

namespace halftone::kernels::cuda {

HALFTONE_ACTIVATION_KERNELS(HALFTONE_DEFINE_KERNEL)

}  // namespace halftone::kernels::cuda
