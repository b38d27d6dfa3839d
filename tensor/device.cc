#include "tensor/device.h"

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

void* DeviceRuntime::allocate_or_throw(size_t bytes) {
  void* memory = allocate(bytes);
  if (memory == nullptr && free_unused_) {
    free_unused_();
    memory = allocate(bytes);
  }
  if (memory == nullptr) throw out_of_device_memory("scratch", bytes, memory_text());
  return memory;
}

Error out_of_device_memory(const std::string& what, size_t bytes, const std::string& memory) {
  return HALFTONE_ERROR(kOutOfDeviceMemory)
      .what_happened("out of memory for " + what + " of " + std::to_string(bytes) + " bytes")
      .found(memory)
      .fix("use a smaller batch or network");
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

std::string cuda_missing_library() {
  return registered().missing_library == nullptr ? "" : registered().missing_library();
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
