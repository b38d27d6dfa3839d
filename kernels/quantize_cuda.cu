#include "kernels/quantize_cuda.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/quantize.h"

namespace halftone::kernels::cuda {

void fake_quantize(Stream& stream, const FakeQuantizeArgs& args) {
  StreamLauncher launcher(stream);
  launch_fake_quantize(launcher, args);
}

void fake_quantize_backward(Stream& stream, const FakeQuantizeBackwardArgs& args) {
  StreamLauncher launcher(stream);
  launch_fake_quantize_backward(launcher, args);
}

void quantize(Stream& stream, const QuantizeArgs& args) {
  StreamLauncher launcher(stream);
  launch_quantize(launcher, args);
}

}  // namespace halftone::kernels::cuda
