// The device that the cases run on: the one made of the CPU (host_device.h), or a GPU.
#pragma once

#include <string>

#include "tensor/device.h"
#include "test/catch_skip.h"

namespace halftone::test {

// Makes it Device{kCuda, 0}; "" or why there is none. Defined by what is linked.
std::string prepare_device();

#define NEED_DEVICE()                                \
  const std::string reason = test::prepare_device(); \
  if (!reason.empty()) HALFTONE_SKIP(reason)

}  // namespace halftone::test
