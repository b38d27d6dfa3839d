// CUDA devices as values with owners: streams, events and memory; every failing call throws.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace halftone::cuda {

// "" where a device can be used, else why not: no driver, no GPU, one too old.
std::string unusable_reason();

// Throws an Error that names `call` when status is not cudaSuccess; of exhausted memory, one of
// kOutOfDeviceMemory.
void check(cudaError_t status, const char* call, const char* file, int line);
#define HALFTONE_CUDA(call) ::halftone::cuda::check((call), #call, __FILE__, __LINE__)

// "3.2 GB free of 80.0 GB", of the device in use.
std::string memory_text();

// Device memory of a fixed size; contents undefined at first.
class Memory {
 public:
  Memory() = default;
  explicit Memory(size_t bytes);                                    // throws out_of_device_memory()
  Memory(void* data, size_t bytes) : data_(data), bytes_(bytes) {}  // takes over cudaMalloc's
  ~Memory();
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Work in order. Kernels that reduce keep their partial results in its scratch.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }
  void synchronize() const;  // throws the errors of kernels that ran
  // How it takes what it keeps (by cudaMalloc); without: Memory(bytes).
  void allocate_by(std::function<void*(size_t)> allocate) { allocate_ = std::move(allocate); }
  // At least this many bytes, until the next call. Growing waits for the stream, so a captured
  // graph needs one step before it.
  void* scratch(size_t bytes);
  // At least this many zeros, for kernels that leave zeros; growing waits as well.
  uint32_t* counters(int64_t count);
  uint64_t grown() const { return grown_; }  // how often either has moved

 private:
  Memory room(size_t bytes) const;

  cudaStream_t stream_ = nullptr;
  std::function<void*(size_t)> allocate_;
  Memory scratch_, counters_;
  uint64_t grown_ = 0;
};

// A point in a stream's work, with a time.
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(const Stream& stream);
  void synchronize() const;
  float milliseconds_since(const Event& start) const;  // both reached

 private:
  cudaEvent_t event_ = nullptr;
};

// Copies between host and device, finished on return.
template <class T>
Memory upload(const Stream& stream, const std::vector<T>& values) {
  Memory memory(values.size() * sizeof(T));
  if (values.empty()) return memory;
  HALFTONE_CUDA(cudaMemcpyAsync(memory.data(), values.data(), values.size() * sizeof(T),
                                cudaMemcpyHostToDevice, stream.get()));
  stream.synchronize();
  return memory;
}

template <class T>
std::vector<T> download(const Stream& stream, const void* data, size_t count) {
  std::vector<T> values(count);
  if (count == 0) return values;
  HALFTONE_CUDA(cudaMemcpyAsync(values.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost,
                                stream.get()));
  stream.synchronize();
  return values;
}

}  // namespace halftone::cuda
