#include "tensor/context.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "tensor/error.h"
#include "tensor/memory.h"

namespace halftone {

// Members are destroyed last to first: cached primitives go before the memory they may use, and
// that before its device.
struct Context::State {
  explicit State(std::unique_ptr<DeviceRuntime> r) : runtime(std::move(r)), memory(runtime.get()) {}

  Device device;
  DeviceMath math = DeviceMath::kFloat32, backward = DeviceMath::kFloat32;
  int threads = 1;
  std::unique_ptr<DeviceRuntime> runtime;
  MemoryPool memory;
  std::shared_ptr<RandomState> random = std::make_shared<RandomState>();
  std::shared_ptr<State> host;  // of a device
  std::shared_ptr<void> kernel_cache;
};

namespace {

// OMP_NUM_THREADS may be a list, one number per nesting level; the first counts.
int default_threads() {
  const char* wish = std::getenv("OMP_NUM_THREADS");
  const long asked = wish ? std::strtol(wish, nullptr, 10) : 0;
  if (asked > 0) return static_cast<int>(std::min(asked, 1024L));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

Context::Context(const ContextOptions& options) {
  if (options.threads < 0) {
    throw HALFTONE_ERROR("context")
        .expected("0 (all) or more threads")
        .found(std::to_string(options.threads));
  }
  const bool cuda = options.device.type == DeviceType::kCuda;
  const DeviceMath backward = options.backward.value_or(options.math);
  if (!cuda && (options.math == DeviceMath::kTf32 || backward == DeviceMath::kTf32)) {
    throw HALFTONE_ERROR("context")
        .expected("float32 or bfloat16 on the CPU")
        .found("tf32, which is a GPU's");
  }
  state_ = std::make_shared<State>(cuda ? open_cuda(options.device.index) : nullptr);
  state_->device = options.device;
  state_->math = options.math, state_->backward = backward;
  state_->threads = options.threads > 0 ? options.threads : default_threads();
  state_->random->seed = options.seed;
  if (!cuda) return;
  state_->host = std::make_shared<State>(nullptr);
  state_->host->threads = state_->threads;
  state_->host->random = state_->random;
}

Device Context::device() const { return state_->device; }
int Context::threads() const { return state_->threads; }
MemoryPool& Context::memory() const { return state_->memory; }
RandomState& Context::random() const { return *state_->random; }
DeviceRuntime* Context::runtime() const { return state_->runtime.get(); }
DeviceMath Context::math() const { return state_->math; }
DeviceMath Context::backward_math() const { return state_->backward; }
Context Context::host() const {
  Context c = *this;
  if (state_->host) c.state_ = state_->host;
  return c;
}
std::shared_ptr<void>& Context::kernel_cache() const { return state_->kernel_cache; }

}  // namespace halftone
