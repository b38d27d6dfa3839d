// --device: from words to a device.
#pragma once

#include <string>

#include "tensor/device.h"

namespace halftone {

// "cpu"; "cuda", "cuda:1": throws with the reason where there is none; "auto": cuda:0 where one can
// be used, else the CPU, which one line on standard error says, with the reason.
Device choose_device(const std::string& words);

}  // namespace halftone
