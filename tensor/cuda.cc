#include "tensor/cuda.h"

#include <utility>

#include "tensor/device.h"
#include "tensor/error.h"

namespace halftone::cuda {

namespace {

std::string version_text(int version) {  // 12040: "12.4"
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string reason_of(cudaError_t status) {
  int driver = 0, wanted = 0;
  if (status == cudaErrorInsufficientDriver && cudaDriverGetVersion(&driver) == cudaSuccess) {
    if (driver == 0) return "no NVIDIA driver";
    cudaRuntimeGetVersion(&wanted);
    return "an NVIDIA driver for CUDA " + version_text(driver) + ", older than this program's " +
           version_text(wanted);
  }
  if (status == cudaErrorNoDevice) return "no CUDA device";
  return std::string("no usable CUDA device: ") + cudaGetErrorString(status);
}

}  // namespace

std::string unusable_reason() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    cudaGetLastError();  // not for the next call to find
    return reason_of(status);
  }
  if (count == 0) return "no CUDA device";
  int major = 0;
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) != cudaSuccess) {
    return "the CUDA device does not answer";
  }
  if (major < 8) return "the CUDA device is older than compute capability 8.0";
  return "";
}

void check(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  const bool full = status == cudaErrorMemoryAllocation;
  const std::string what =
      std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status);
  throw Error(full ? kOutOfDeviceMemory : "cuda", file, line)
      .what_happened(std::string(call) + " failed")
      .found(full ? what + ", " + memory_text() : what);
}

std::string memory_text() {
  const auto gigabytes = [](size_t bytes) {
    const size_t tenths = bytes / 100000000;
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " GB";
  };
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) return "an unknown amount free";
  return gigabytes(free) + " free of " + gigabytes(total);
}

Memory::Memory(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const cudaError_t status = cudaMalloc(&data_, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // not for the next call to find
    throw out_of_device_memory("a block", bytes, memory_text());
  }
  HALFTONE_CUDA(status);
}

Memory::~Memory() {
  if (data_ != nullptr) cudaFree(data_);
}

Memory::Memory(Memory&& other) noexcept { *this = std::move(other); }

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Stream::Stream() { HALFTONE_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }

Stream::~Stream() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

void Stream::synchronize() const { HALFTONE_CUDA(cudaStreamSynchronize(stream_)); }

Memory Stream::room(size_t bytes) const {
  return allocate_ ? Memory(allocate_(bytes), bytes) : Memory(bytes);
}

void* Stream::scratch(size_t bytes) {
  if (scratch_.bytes() < bytes) {
    synchronize();
    ++grown_;
    scratch_ = Memory();
    scratch_ = room(bytes);
  }
  return scratch_.data();
}

uint32_t* Stream::counters(int64_t count) {
  const size_t bytes = static_cast<size_t>(count < 1024 ? 1024 : count) * sizeof(uint32_t);
  if (counters_.bytes() < bytes) {
    synchronize();
    ++grown_;
    counters_ = Memory();
    counters_ = room(bytes);
    HALFTONE_CUDA(cudaMemsetAsync(counters_.data(), 0, bytes, stream_));
  }
  return static_cast<uint32_t*>(counters_.data());
}

Event::Event() { HALFTONE_CUDA(cudaEventCreate(&event_)); }

Event::~Event() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}

void Event::record(const Stream& stream) { HALFTONE_CUDA(cudaEventRecord(event_, stream.get())); }

void Event::synchronize() const { HALFTONE_CUDA(cudaEventSynchronize(event_)); }

float Event::milliseconds_since(const Event& start) const {
  float out = 0.0f;
  HALFTONE_CUDA(cudaEventElapsedTime(&out, start.event_, event_));
  return out;
}

}  // namespace halftone::cuda
