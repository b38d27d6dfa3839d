// What a device beside the CPU gives the library: memory, copies, fills. tensor/ knows no CUDA: a
// program that links //kernels:device brings one in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "tensor/dtype.h"
#include "tensor/error.h"

namespace halftone {

enum class DeviceType : uint8_t { kCpu, kCuda };
struct Device {
  DeviceType type = DeviceType::kCpu;
  int index = 0;
};
std::string name_of(Device device);  // "cpu", "cuda:0"

enum class CopyKind : uint8_t { kToDevice, kToHost, kOnDevice };

// Work that was recorded, run again as a whole (a CUDA graph).
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  virtual void launch() = 0;
};

// One device's memory and its stream of work, in which everything below takes its turn.
class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;

  virtual void* allocate(size_t bytes) = 0;  // 256-byte aligned; null where there is no memory
  virtual void release(void* memory) = 0;
  virtual std::string memory_text() const = 0;  // "3.2 GB free of 80.0 GB"
  // For what lies beside the pool (scratch, a library's workspace): where there is no memory, what
  // the pool keeps unused is freed first; then throws out_of_device_memory().
  void* allocate_or_throw(size_t bytes);
  void when_full(std::function<void()> free_unused) { free_unused_ = std::move(free_unused); }

  // To the host: finished on return. From it: `from` may be overwritten on return.
  virtual void copy(void* to, const void* from, size_t bytes, CopyKind kind) = 0;
  virtual void zero(void* memory, size_t bytes) = 0;
  // The low `width` bytes of `bits` (1, 2, 4, 8), count times.
  virtual void fill(void* memory, int width, uint64_t bits, int64_t count) = 0;
  // Between element types; false where the device has no kernel for the pair.
  virtual bool convert(const void* from, DType from_type, void* to, DType to_type,
                       int64_t count) = 0;
  virtual void synchronize() = 0;  // throws what failed
  virtual void* stream() = 0;      // cuda::Stream: what kernels run on

  // Until end_capture(), what the stream is asked to do is recorded and not done. It keeps its
  // addresses; copies between host and device throw.
  virtual void begin_capture() = 0;
  virtual std::unique_ptr<DeviceGraph> end_capture() = 0;
  virtual uint64_t host_copies() const = 0;  // between host and device, so far
  // Another one where memory of the stream's own, which recorded work may use, has moved.
  virtual uint64_t version() const = 0;

 private:
  std::function<void()> free_unused_;
};

// How a build reaches CUDA.
struct CudaSupport {
  std::string (*unusable_reason)();  // "" where a device can be used
  std::unique_ptr<DeviceRuntime> (*open)(int index);
  std::string (*missing_library)() = nullptr;  // "", or which cannot be opened, and what to do
};
// Called once, before main, by the library that has CUDA.
bool register_cuda(const CudaSupport& support);
// Why no CUDA device can be used: none in this build, no driver, no GPU. "" where one can.
std::string cuda_unusable_reason();
// Of the libraries that networks need on a device: "", or which cannot be opened, and what to do.
std::string cuda_missing_library();
// Throws an Error with the reason where it cannot.
std::unique_ptr<DeviceRuntime> open_cuda(int index);

// Error::op() of the Error that says that a device's memory is exhausted.
constexpr const char* kOutOfDeviceMemory = "out of device memory";
// It, of a request of `bytes` for `what` ("a block"), with the memory there is.
Error out_of_device_memory(const std::string& what, size_t bytes, const std::string& memory);

}  // namespace halftone
