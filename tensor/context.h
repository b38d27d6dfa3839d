// Where tensors live and work runs: a value that tensors and modules carry, never a global.
#pragma once

#include <cstdint>
#include <memory>

#include "tensor/random.h"

namespace halftone {

class MemoryPool;

enum class DeviceType : uint8_t { kCpu, kCuda };
struct Device {
  DeviceType type = DeviceType::kCpu;
  int index = 0;
};

struct ContextOptions {
  Device device;
  int threads = 0;    // 0: OMP_NUM_THREADS or all cores
  uint64_t seed = 0;  // of random()
};

// A cheap handle; copies share device, memory, thread count and random state.
// Two Contexts can live in one process.
class Context {
 public:
  explicit Context(const ContextOptions& options = {});

  Device device() const;
  int threads() const;
  MemoryPool& memory() const;
  RandomState& random() const;
  // Per-context cache of library primitives, keyed by the kernel that owns them
  // (kernels/ uses it; tensor/ knows nothing of what is inside).
  std::shared_ptr<void>& kernel_cache() const;
  bool operator==(const Context& other) const { return state_ == other.state_; }

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace halftone
