#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/observe.h"

namespace halftone::kernels::cuda {

HALFTONE_OBSERVE_KERNELS(HALFTONE_DEFINE_KERNEL)

}  // namespace halftone::kernels::cuda
