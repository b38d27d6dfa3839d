// The cases run on the GPU.
#include "test/device/device_under_test.h"

namespace halftone::test {

std::string prepare_device() { return cuda_unusable_reason(); }

}  // namespace halftone::test
