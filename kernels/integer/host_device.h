// One spelling for functions that both the host and a CUDA device compile. Always inline, so that a
// file may compile them for a wider instruction set (#pragma GCC target) and leave no copy for
// others.
#pragma once

#if defined(__CUDACC__)
#define HALFTONE_HD __host__ __device__ __forceinline__
#else
#define HALFTONE_HD inline __attribute__((always_inline))
#endif

// Before a loop over registers, whose indices must be constants.
#if defined(__CUDA_ARCH__)
#define HALFTONE_UNROLL _Pragma("unroll")
#define HALFTONE_UNROLL_BY_4 _Pragma("unroll 4")
#else
#define HALFTONE_UNROLL
#define HALFTONE_UNROLL_BY_4
#endif
