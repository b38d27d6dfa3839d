// Where tensors live and work runs: a value that tensors and modules carry, never a global.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "tensor/device.h"
#include "tensor/random.h"

namespace halftone {

class MemoryPool;

// What convolutions and matrix products multiply; sums are float32.
enum class DeviceMath : uint8_t {
  kFloat32,
  kTf32,      // operands rounded to 10 bits behind the point; on a GPU
  kBFloat16,  // operands rounded to bfloat16; on a GPU results, too
};

struct ContextOptions {
  Device device;
  int threads = 0;    // 0: OMP_NUM_THREADS or all cores
  uint64_t seed = 0;  // of random()
  DeviceMath math = DeviceMath::kFloat32;
  std::optional<DeviceMath> backward = std::nullopt;  // in gradients; none: math
};

// A cheap handle; copies share device, memory, thread count and random state.
// Two Contexts can live in one process.
class Context {
 public:
  explicit Context(const ContextOptions& options = {});

  Device device() const;
  bool on_cpu() const { return runtime() == nullptr; }
  DeviceRuntime* runtime() const;  // null on the CPU
  // The CPU beside the device, for what the host reads and writes itself: its own memory, the same
  // thread count and random state. On the CPU: this context.
  Context host() const;
  DeviceMath math() const;
  DeviceMath backward_math() const;
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
