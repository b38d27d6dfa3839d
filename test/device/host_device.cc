// A device made of the CPU, for tests of everything above the kernels: its kernels are the CUDA
// bodies on fibers (test/kernels/cuda/host_grid.h), its convolutions and matrix products the CPU's
// on copies (host_products.cc). Its memory can be touched by kernels and copies only: a host that
// reads or writes a tensor of the device crashes, as it would with a GPU.
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <utility>

#include "tensor/device.h"
#include "tensor/error.h"
#include "test/device/device_under_test.h"
#include "test/device/host_stream.h"

namespace halftone::test {
namespace {

constexpr size_t kBytes = size_t{1} << 30;  // of addresses; memory is used as it is touched
constexpr size_t kAlignment = 256;

// One region that is closed but for the life of a DeviceAccess.
class Region {
 public:
  Region() {
    void* memory =
        ::mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    base_ = static_cast<char*>(memory);
  }
  void open() { ::mprotect(base_, kBytes, PROT_READ | PROT_WRITE); }
  void close() { ::mprotect(base_, kBytes, PROT_NONE); }

  // First fit; null where nothing does.
  void* allocate(size_t bytes) {
    bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    size_t at = 0;
    for (const auto& [offset, size] : blocks_) {
      if (offset - at >= bytes) break;
      at = offset + size;
    }
    if (bytes > kBytes - at) return nullptr;
    blocks_[at] = bytes;
    return base_ + at;
  }
  void release(void* memory) { blocks_.erase(static_cast<char*>(memory) - base_); }

 private:
  char* base_;
  std::map<size_t, size_t> blocks_;
};

Region& region() {
  static Region all;
  return all;
}

// Replays what a stream recorded.
class HostGraph : public DeviceGraph {
 public:
  explicit HostGraph(std::vector<cuda::Stream::Work> work) : work_(std::move(work)) {}
  void launch() override {
    const DeviceAccess access;
    for (const auto& step : work_) step();
  }

 private:
  std::vector<cuda::Stream::Work> work_;
};

class HostDevice : public DeviceRuntime {
 public:
  void* allocate(size_t bytes) override { return region().allocate(bytes); }
  void release(void* memory) override { region().release(memory); }
  std::string memory_text() const override { return "1 GiB in all"; }
  void copy(void* to, const void* from, size_t bytes, CopyKind kind) override {
    if (kind != CopyKind::kOnDevice) note_host_copy();
    stream_.submit([=] { std::memmove(to, from, bytes); });
  }
  void zero(void* memory, size_t bytes) override {
    stream_.submit([=] { std::memset(memory, 0, bytes); });
  }
  void fill(void* memory, int width, uint64_t bits, int64_t count) override {
    stream_.submit([=] {
      kernels::cuda::launch_fill(stream_.launcher, {count, width, bits, memory});
    });
  }
  bool convert(const void* from, DType from_type, void* to, DType to_type, int64_t count) override {
    if (from_type != DType::kFloat32 || to_type != DType::kBFloat16) return false;
    stream_.submit([=] {
      kernels::cuda::launch_cast(stream_.launcher, {count, from_type, to_type, from, to});
    });
    return true;
  }
  void synchronize() override {}
  void* stream() override { return &stream_; }

  void begin_capture() override { stream_.recording = true; }
  std::unique_ptr<DeviceGraph> end_capture() override {
    stream_.recording = false;
    return std::make_unique<HostGraph>(std::exchange(stream_.recorded, {}));
  }
  uint64_t host_copies() const override { return host_copies_; }
  uint64_t version() const override { return 0; }

 private:
  void note_host_copy() {
    ++host_copies_;
    if (stream_.recording) throw HALFTONE_ERROR("graph").found("a copy between host and device");
  }

  cuda::Stream stream_;
  uint64_t host_copies_ = 0;
};

}  // namespace

DeviceAccess::DeviceAccess() { region().open(); }
DeviceAccess::~DeviceAccess() { region().close(); }

std::string prepare_device() {
  static const bool once = register_cuda(
      {[] { return std::string(); },
       [](int) -> std::unique_ptr<DeviceRuntime> { return std::make_unique<HostDevice>(); }});
  return once ? "" : "the device could not be registered";
}

}  // namespace halftone::test

namespace halftone::kernels::cuda {

#define HALFTONE_DEFINE(name, Args)                                           \
  void name(Stream& stream, const Args& args) {                               \
    stream.submit([&stream, args] { launch_##name(stream.launcher, args); }); \
  }
HALFTONE_ALL_KERNELS(HALFTONE_DEFINE)

}  // namespace halftone::kernels::cuda
