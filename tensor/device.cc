#include "tensor/device.h"

#include "tensor/error.h"

namespace halftone {
namespace {

CudaSupport& registered() {
  static CudaSupport support{nullptr, nullptr};
  return support;
}

}  // namespace

std::string name_of(Device device) {
  return device.type == DeviceType::kCpu ? "cpu" : "cuda:" + std::to_string(device.index);
}

bool register_cuda(const CudaSupport& support) {
  registered() = support;
  return true;
}

std::string cuda_unusable_reason() {
  if (registered().open == nullptr) {
    return "this program was built without CUDA (build it with --config=cuda)";
  }
  return registered().unusable_reason();
}

std::unique_ptr<DeviceRuntime> open_cuda(int index) {
  const std::string reason = cuda_unusable_reason();
  if (reason.empty()) return registered().open(index);
  throw HALFTONE_ERROR("cuda:" + std::to_string(index))
      .expected("a CUDA device")
      .found(reason)
      .fix("run on the CPU (--device cpu, or auto)");
}

}  // namespace halftone
