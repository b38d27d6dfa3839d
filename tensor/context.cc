#include "tensor/context.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "tensor/error.h"
#include "tensor/memory.h"

namespace halftone {

// Members are destroyed last to first: cached primitives go before the memory they may use.
struct Context::State {
  Device device;
  int threads = 1;
  MemoryPool memory;
  RandomState random;
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

Context::Context(const ContextOptions& options) : state_(std::make_shared<State>()) {
  if (options.device.type != DeviceType::kCpu) {
    throw HALFTONE_ERROR("context")
        .expected("a CPU device")
        .found("cuda:" + std::to_string(options.device.index))
        .fix("this build runs on the CPU only");
  }
  if (options.threads < 0) {
    throw HALFTONE_ERROR("context")
        .expected("0 (all) or more threads")
        .found(std::to_string(options.threads));
  }
  state_->device = options.device;
  state_->threads = options.threads > 0 ? options.threads : default_threads();
  state_->random.seed = options.seed;
}

Device Context::device() const { return state_->device; }
int Context::threads() const { return state_->threads; }
MemoryPool& Context::memory() const { return state_->memory; }
RandomState& Context::random() const { return state_->random; }
std::shared_ptr<void>& Context::kernel_cache() const { return state_->kernel_cache; }

}  // namespace halftone
