// Advice where a device's memory does not suffice.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/device.h"
#include "tensor/error.h"

namespace halftone {

// What work() returns; an Error of exhausted device memory names the number of images to try,
// behind the option that sets it: "--set batch_size=".
template <class Work>
auto with_memory_advice(const std::string& option, int64_t images, const Work& work) {
  try {
    return work();
  } catch (Error& e) {
    if (e.op() == kOutOfDeviceMemory && images > 1)
      e.fix("try " + option + std::to_string(images / 2));
    throw;
  }
}

// The same for a batch whose size is this key of the recipe.
template <class Work>
auto with_batch_advice(const std::string& key, int64_t batch_size, const Work& work) {
  return with_memory_advice("--set " + key + "=", batch_size, work);
}

}  // namespace halftone
