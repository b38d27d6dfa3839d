// --device and --math: from words to where a network runs, and in what it multiplies.
#pragma once

#include <string>

#include "tensor/context.h"

namespace halftone {

struct DeviceChoice {
  DeviceChoice(Device where = {}, DeviceMath in = DeviceMath::kFloat32) : device(where), math(in) {}
  Context context(int threads, uint64_t seed) const {
    return Context({device, threads, seed, math});
  }

  Device device;
  DeviceMath math;
};

// "cpu"; "cuda", "cuda:1": throws with the reason where there is none, or a library that networks
// need there is missing; "auto": cuda:0 where one can be used, else the CPU, which one line on
// standard error says, with the reason.
Device choose_device(const std::string& words);
// The same with `math`: "float32", "tf32" or "bfloat16", of which a CPU has the first alone; where
// "auto" finds no GPU, the line says that the others are left out.
DeviceChoice choose_device(const std::string& words, const std::string& math);

}  // namespace halftone
