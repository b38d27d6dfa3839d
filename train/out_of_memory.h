// Advice where a device's memory does not suffice.
#pragma once

#include <algorithm>
#include <string>

#include "tensor/device.h"
#include "tensor/error.h"

namespace halftone {

// work(); an Error of exhausted device memory then names the batch size to try, and the recipe's
// key for it.
template <class Work>
void with_batch_advice(const std::string& key, int64_t batch_size, const Work& work) {
  try {
    work();
  } catch (Error& e) {
    if (e.op() == kOutOfDeviceMemory)
      e.fix("try --set " + key + "=" + std::to_string(std::max<int64_t>(1, batch_size / 2)));
    throw;
  }
}

}  // namespace halftone
