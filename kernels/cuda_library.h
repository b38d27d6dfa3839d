// NVIDIA's libraries, opened by name when they are first wanted: a program starts without them.
#pragma once

#include <dlfcn.h>

#include <string>

namespace halftone::kernels {

class CudaLibrary {
 public:
  // soname: "libcudnn.so.9"; wheel: the folder of it in the pip package `nvidia`: "cudnn". Looks
  // where the linker does (LD_LIBRARY_PATH, the cache), in $CUDNN_HOME and $CUDA_HOME, in
  // /usr/local/cuda, and in the wheels of $VIRTUAL_ENV. Throws an Error that says so.
  CudaLibrary(const std::string& soname, const std::string& wheel);
  CudaLibrary(const CudaLibrary&) = delete;
  CudaLibrary& operator=(const CudaLibrary&) = delete;

  // The function of this name; throws where the library is too old to have it.
  void* function(const char* name) const;

 private:
  std::string soname_;
  void* handle_ = nullptr;  // stays open: its code may run until the process ends
};

}  // namespace halftone::kernels
