// The functions of cuDNN 9 that are used, from the library opened at run time.
#pragma once

#include <cudnn.h>

#include <memory>

#include "kernels/cuda_library.h"
#include "tensor/cuda.h"
#include "tensor/device.h"

namespace halftone::kernels {

#define HALFTONE_CUDNN_FUNCTIONS(F)                \
  F(cudnnCreate)                                   \
  F(cudnnDestroy)                                  \
  F(cudnnSetStream)                                \
  F(cudnnGetErrorString)                           \
  F(cudnnCreateTensorDescriptor)                   \
  F(cudnnSetTensor4dDescriptor)                    \
  F(cudnnDestroyTensorDescriptor)                  \
  F(cudnnCreateFilterDescriptor)                   \
  F(cudnnSetFilter4dDescriptor)                    \
  F(cudnnDestroyFilterDescriptor)                  \
  F(cudnnCreateConvolutionDescriptor)              \
  F(cudnnSetConvolution2dDescriptor)               \
  F(cudnnSetConvolutionGroupCount)                 \
  F(cudnnSetConvolutionMathType)                   \
  F(cudnnDestroyConvolutionDescriptor)             \
  F(cudnnGetConvolutionForwardAlgorithm_v7)        \
  F(cudnnGetConvolutionBackwardDataAlgorithm_v7)   \
  F(cudnnGetConvolutionBackwardFilterAlgorithm_v7) \
  F(cudnnConvolutionForward)                       \
  F(cudnnConvolutionBackwardData)                  \
  F(cudnnConvolutionBackwardFilter)                \
  F(cudnnAddTensor)

struct CudnnApi {
  CudnnApi() : library("libcudnn.so.9", "cudnn") {
#define HALFTONE_LOAD(name) name = reinterpret_cast<decltype(name)>(library.function(#name));
    HALFTONE_CUDNN_FUNCTIONS(HALFTONE_LOAD)
#undef HALFTONE_LOAD
  }

  CudaLibrary library;
#define HALFTONE_MEMBER(name) decltype(&::name) name = nullptr;
  HALFTONE_CUDNN_FUNCTIONS(HALFTONE_MEMBER)
#undef HALFTONE_MEMBER
};

// Opened on the first call.
inline const CudnnApi& cudnn() {
  static const CudnnApi api;
  return api;
}

inline void check_cudnn(cudnnStatus_t status, const char* call, const char* file, int line) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  const bool full = status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
  const std::string what = cudnn().cudnnGetErrorString(status);
  throw Error(full ? kOutOfDeviceMemory : "cudnn", file, line)
      .what_happened(std::string(call) + " failed")
      .found(full ? what + ", " + halftone::cuda::memory_text() : what);
}
#define HALFTONE_CUDNN(call) \
  ::halftone::kernels::check_cudnn(cudnn().call, #call, __FILE__, __LINE__)

}  // namespace halftone::kernels
