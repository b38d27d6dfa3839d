#include "kernels/cuda/dorefa.h"
#include "kernels/cuda/launch.cuh"

namespace halftone::kernels::cuda {

void dorefa_weights(Stream& stream, const DorefaWeightsArgs& args) {
  StreamLauncher launcher(stream);
  launch_dorefa_weights(launcher, args);
}

void dorefa_weights_backward(Stream& stream, const DorefaWeightsBackwardArgs& args) {
  StreamLauncher launcher(stream);
  launch_dorefa_weights_backward(launcher, args);
}

void dorefa_activations(Stream& stream, const DorefaActivationsArgs& args) {
  StreamLauncher launcher(stream);
  launch_dorefa_activations(launcher, args);
}

void dorefa_activations_backward(Stream& stream, const DorefaActivationsBackwardArgs& args) {
  StreamLauncher launcher(stream);
  launch_dorefa_activations_backward(launcher, args);
}

void dorefa_gradients(Stream& stream, const DorefaGradientsArgs& args) {
  StreamLauncher launcher(stream);
  launch_dorefa_gradients(launcher, args);
}

}  // namespace halftone::kernels::cuda
