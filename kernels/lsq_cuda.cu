#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/quantize.h"

namespace halftone::kernels::cuda {

HALFTONE_LSQ_KERNELS(HALFTONE_DEFINE_KERNEL)

}  // namespace halftone::kernels::cuda
