#include "kernels/cuda/binary.h"
#include "kernels/cuda/launch.cuh"

namespace halftone::kernels::cuda {

HALFTONE_BINARY_KERNELS(HALFTONE_DEFINE_KERNEL)

}  // namespace halftone::kernels::cuda
