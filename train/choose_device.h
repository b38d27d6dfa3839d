// --device and --math: from words to where a network runs, and in what it multiplies.
#pragma once

#include <optional>
#include <string>

#include "tensor/context.h"

namespace halftone {

struct DeviceChoice {
  DeviceChoice(Device where = {}, std::optional<DeviceMath> in = std::nullopt)
      : device(where), math(in) {}
  // `math` and `backward` where --math says nothing.
  Context context(int threads, uint64_t seed, DeviceMath otherwise = DeviceMath::kFloat32,
                  std::optional<DeviceMath> backward = std::nullopt) const {
    if (math.has_value()) return Context({device, threads, seed, *math, std::nullopt});
    return Context({device, threads, seed, otherwise, backward});
  }

  Device device;
  std::optional<DeviceMath> math;  // none: the recipe's
};

// "cpu"; "cuda", "cuda:1": throws with the reason where there is none, or a library that networks
// need there is missing; "auto": cuda:0 where one can be used, else the CPU, which one line on
// standard error says, with the reason.
Device choose_device(const std::string& words);
// The same with `math`: "" (the recipe's `compute` and `backward`), "float32", "tf32" or
// "bfloat16", which are a GPU's; where "auto" finds none, the line says that they are left out.
DeviceChoice choose_device(const std::string& words, const std::string& math);

}  // namespace halftone
