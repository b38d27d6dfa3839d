// A CUDA device's memory and stream, as tensor/device.h wants them.
#include "kernels/cublas_api.h"
#include "kernels/cudnn_api.h"
#include "kernels/elementwise_cuda.h"
#include "tensor/cuda.h"
#include "tensor/device.h"
#include "tensor/error.h"

namespace halftone::kernels {
namespace {

class CudaGraph : public DeviceGraph {
 public:
  CudaGraph(cudaGraph_t graph, cudaStream_t stream) : stream_(stream) {
    const cudaError_t status = cudaGraphInstantiate(&graph_, graph, 0);
    cudaGraphDestroy(graph);
    HALFTONE_CUDA(status);
  }
  ~CudaGraph() override { cudaGraphExecDestroy(graph_); }
  void launch() override { HALFTONE_CUDA(cudaGraphLaunch(graph_, stream_)); }

 private:
  cudaGraphExec_t graph_ = nullptr;
  cudaStream_t stream_;
};

class CudaDevice : public DeviceRuntime {
 public:
  // The device is chosen for the calling thread, which is the one to use the Context.
  explicit CudaDevice(int index) : stream_(choose(index)) {
    stream_.allocate_by([this](size_t bytes) { return allocate_or_throw(bytes); });
  }

  void* allocate(size_t bytes) override {
    void* memory = nullptr;
    const cudaError_t status = cudaMalloc(&memory, bytes);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // not for the next call to find
      return nullptr;
    }
    HALFTONE_CUDA(status);
    return memory;
  }
  void release(void* memory) override { cudaFree(memory); }
  std::string memory_text() const override { return halftone::cuda::memory_text(); }

  void copy(void* to, const void* from, size_t bytes, CopyKind kind) override {
    if (kind != CopyKind::kOnDevice) note_host_copy();
    const cudaMemcpyKind kinds[] = {cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost,
                                    cudaMemcpyDeviceToDevice};
    HALFTONE_CUDA(cudaMemcpyAsync(to, from, bytes, kinds[static_cast<int>(kind)], stream_.get()));
    // From pageable memory the call returns when `from` has been read.
    if (kind == CopyKind::kToHost) stream_.synchronize();
  }
  void zero(void* memory, size_t bytes) override {
    HALFTONE_CUDA(cudaMemsetAsync(memory, 0, bytes, stream_.get()));
  }
  void fill(void* memory, int width, uint64_t bits, int64_t count) override {
    cuda::fill(stream_, {count, width, bits, memory});
  }
  bool convert(const void* from, DType from_type, void* to, DType to_type, int64_t count) override {
    const bool small = from_type == DType::kBFloat16 || from_type == DType::kUInt8 ||
                       from_type == DType::kInt8 || from_type == DType::kInt32;
    const bool known = (from_type == DType::kFloat32 && to_type == DType::kBFloat16) ||
                       (small && to_type == DType::kFloat32);
    if (known) cuda::cast(stream_, {count, from_type, to_type, from, to});
    return known;
  }
  void synchronize() override { stream_.synchronize(); }
  void* stream() override { return &stream_; }

  void begin_capture() override {
    HALFTONE_CUDA(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal));
    capturing_ = true;
  }
  std::unique_ptr<DeviceGraph> end_capture() override {
    capturing_ = false;
    cudaGraph_t graph = nullptr;
    HALFTONE_CUDA(cudaStreamEndCapture(stream_.get(), &graph));
    return std::make_unique<CudaGraph>(graph, stream_.get());
  }
  uint64_t host_copies() const override { return host_copies_; }
  uint64_t version() const override { return stream_.grown(); }

 private:
  void note_host_copy() {
    ++host_copies_;
    if (!capturing_) return;
    throw HALFTONE_ERROR("cuda graph")
        .expected("a step that stays on the device")
        .found("a copy between host and device in it");
  }

  // Chosen before the stream is made.
  static int choose(int index) {
    int count = 0;
    HALFTONE_CUDA(cudaGetDeviceCount(&count));
    if (index < 0 || index >= count) {
      throw HALFTONE_ERROR("cuda:" + std::to_string(index))
          .expected("one of " + std::to_string(count) + " CUDA devices, from cuda:0 on")
          .found("cuda:" + std::to_string(index));
    }
    HALFTONE_CUDA(cudaSetDevice(index));
    return index;
  }

  // A stream that is made after its argument.
  struct ChosenStream : halftone::cuda::Stream {
    explicit ChosenStream(int) {}
  };
  ChosenStream stream_;
  bool capturing_ = false;
  uint64_t host_copies_ = 0;
};

std::unique_ptr<DeviceRuntime> open(int index) { return std::make_unique<CudaDevice>(index); }

std::string missing_library() {
  try {
    cudnn();
    cublas();
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}

[[maybe_unused]] const bool registered =
    register_cuda({halftone::cuda::unusable_reason, open, missing_library});

}  // namespace
}  // namespace halftone::kernels
