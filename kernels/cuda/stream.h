// The stream that a kernel's interface names; tensor/cuda.h defines it.
#pragma once

namespace halftone::cuda {
class Stream;
}

namespace halftone::kernels::cuda {
using halftone::cuda::Stream;
}
