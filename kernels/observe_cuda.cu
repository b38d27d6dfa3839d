#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/observe.h"

namespace halftone::kernels::cuda {

void observe(Stream& stream, const ObserveArgs& args) {
  StreamLauncher launcher(stream);
  launch_observe(launcher, args);
}

void add_histogram(Stream& stream, const HistogramArgs& args) {
  StreamLauncher launcher(stream);
  launch_add_histogram(launcher, args);
}

}  // namespace halftone::kernels::cuda
