#include "kernels/cuda_library.h"

#include <glob.h>

#include <cstdlib>
#include <vector>

#include "tensor/error.h"

namespace halftone::kernels {
namespace {

std::vector<std::string> folders(const std::string& wheel) {
  std::vector<std::string> list;
  for (const char* variable : {"CUDNN_HOME", "CUDA_HOME"}) {
    if (const char* home = std::getenv(variable)) {
      list.push_back(std::string(home) + "/lib64");
      list.push_back(std::string(home) + "/lib");
    }
  }
  list.push_back("/usr/local/cuda/lib64");
  list.push_back("/usr/local/cuda/lib");
  if (const char* venv = std::getenv("VIRTUAL_ENV")) {
    list.push_back(std::string(venv) + "/lib/python3*/site-packages/nvidia/" + wheel + "/lib");
  }
  return list;
}

void* open_matching(const std::string& pattern) {
  glob_t found;
  void* handle = nullptr;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    for (size_t i = 0; i < found.gl_pathc && handle == nullptr; ++i) {
      handle = ::dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_GLOBAL);
    }
  }
  ::globfree(&found);
  return handle;
}

}  // namespace

CudaLibrary::CudaLibrary(const std::string& soname, const std::string& wheel) : soname_(soname) {
  handle_ = ::dlopen(soname.c_str(), RTLD_NOW | RTLD_GLOBAL);
  for (const std::string& folder : folders(wheel)) {
    if (handle_ != nullptr) return;
    handle_ = open_matching(folder + "/" + soname);
  }
  if (handle_ != nullptr) return;
  throw HALFTONE_ERROR("cuda")
      .expected("the library " + soname)
      .found(
          "it neither on LD_LIBRARY_PATH, nor in $CUDNN_HOME, $CUDA_HOME, /usr/local/cuda or "
          "the Python environment")
      .fix(
          "install it (pip install nvidia-cudnn-cu13 nvidia-cublas), or run on the CPU "
          "(--device cpu)");
}

void* CudaLibrary::function(const char* name) const {
  void* found = ::dlsym(handle_, name);
  if (found != nullptr) return found;
  throw HALFTONE_ERROR("cuda")
      .expected(soname_ + " with the function " + name)
      .found("one without it")
      .fix("install a newer one");
}

}  // namespace halftone::kernels
