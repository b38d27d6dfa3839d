// One spelling for functions that both the host and a CUDA device compile.
#pragma once

#if defined(__CUDACC__)
#define HALFTONE_HD __host__ __device__ __forceinline__
#else
#define HALFTONE_HD inline
#endif
