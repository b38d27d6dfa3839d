#include "kernels/cuda/epilogue.h"
#include "kernels/cuda/launch.cuh"

namespace halftone::kernels::cuda {

void epilogue_to_codes(Stream& stream, const EpilogueArgs& args) {
  StreamLauncher launcher(stream);
  launch_epilogue_to_codes(launcher, args);
}

void epilogue_to_float(Stream& stream, const EpilogueFloatArgs& args) {
  StreamLauncher launcher(stream);
  launch_epilogue_to_float(launcher, args);
}

}  // namespace halftone::kernels::cuda
