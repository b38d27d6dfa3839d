// The functions of cuBLASLt 13 that are used, from the library opened at run time.
#pragma once

#include <cublasLt.h>

#include <string>

#include "kernels/cuda_library.h"
#include "tensor/cuda.h"
#include "tensor/device.h"
#include "tensor/error.h"

namespace halftone::kernels {

#define HALFTONE_CUBLAS_FUNCTIONS(F)      \
  F(cublasLtCreate)                       \
  F(cublasLtDestroy)                      \
  F(cublasLtMatmulDescCreate)             \
  F(cublasLtMatmulDescDestroy)            \
  F(cublasLtMatmulDescSetAttribute)       \
  F(cublasLtMatrixLayoutCreate)           \
  F(cublasLtMatrixLayoutDestroy)          \
  F(cublasLtMatmulPreferenceCreate)       \
  F(cublasLtMatmulPreferenceDestroy)      \
  F(cublasLtMatmulPreferenceSetAttribute) \
  F(cublasLtMatmulAlgoGetHeuristic)       \
  F(cublasLtMatmul)

struct CublasApi {
  CublasApi() : library("libcublasLt.so.13", "cu13") {
#define HALFTONE_LOAD(name) name = reinterpret_cast<decltype(name)>(library.function(#name));
    HALFTONE_CUBLAS_FUNCTIONS(HALFTONE_LOAD)
#undef HALFTONE_LOAD
  }

  CudaLibrary library;
#define HALFTONE_MEMBER(name) decltype(&::name) name = nullptr;
  HALFTONE_CUBLAS_FUNCTIONS(HALFTONE_MEMBER)
#undef HALFTONE_MEMBER
};

// Opened on the first call.
inline const CublasApi& cublas() {
  static const CublasApi api;
  return api;
}

inline void check_cublas(cublasStatus_t status, const char* call, const char* file, int line) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const bool full = status == CUBLAS_STATUS_ALLOC_FAILED;
  const std::string what = "status " + std::to_string(static_cast<int>(status));
  throw Error(full ? kOutOfDeviceMemory : "cublasLt", file, line)
      .what_happened(std::string(call) + " failed")
      .found(full ? what + ", " + halftone::cuda::memory_text() : what);
}
#define HALFTONE_CUBLAS(call) \
  ::halftone::kernels::check_cublas(cublas().call, #call, __FILE__, __LINE__)

}  // namespace halftone::kernels
