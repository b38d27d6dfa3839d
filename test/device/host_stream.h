// The stream of the device made of the CPU (host_device.cc): runs work at once, or records it.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "kernels/cuda/all_bodies.h"
#include "test/kernels/cuda/host_grid.h"

namespace halftone::test {

// While one lives, the device's memory can be read and written.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
};

}  // namespace halftone::test

namespace halftone::cuda {

// What kernels/cuda/stream.h declares, for this program.
class Stream {
 public:
  using Work = std::function<void()>;
  void submit(Work work) {
    if (recording) return recorded.push_back(std::move(work));
    const test::DeviceAccess access;
    work();
  }

  test::HostLauncher launcher;
  bool recording = false;
  std::vector<Work> recorded;
};

}  // namespace halftone::cuda
