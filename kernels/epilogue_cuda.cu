#include "kernels/cuda/epilogue.h"
#include "kernels/cuda/launch.cuh"

namespace halftone::kernels::cuda {

HALFTONE_EPILOGUE_KERNELS(HALFTONE_DEFINE_KERNEL)

}  // namespace halftone::kernels::cuda
