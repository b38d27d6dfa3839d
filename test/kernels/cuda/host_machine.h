// The kernels' bodies on the CPU, in the shape that the shared cases want.
#pragma once

#include <cstring>
#include <vector>

#include "kernels/cuda/binary.h"
#include "kernels/cuda/dorefa.h"
#include "kernels/cuda/epilogue.h"
#include "kernels/cuda/observe.h"
#include "kernels/cuda/optimizer.h"
#include "kernels/cuda/quantize.h"
#include "test/kernels/cuda/host_grid.h"

namespace halftone::test {

class HostMachine {
 public:
  // A copy of `values` that starts `shift` elements behind a 64-byte boundary.
  template <class T>
  T* put(const std::vector<T>& values, int shift = 0) {
    T* data = room<T>(values.size(), shift);
    if (!values.empty()) std::memcpy(data, values.data(), values.size() * sizeof(T));
    return data;
  }
  template <class T>
  T* room(size_t count, int shift = 0) {
    const size_t bytes = ((count + static_cast<size_t>(shift)) * sizeof(T) + 64) / 64 * 64;
    blocks_.emplace_back(static_cast<unsigned char*>(std::aligned_alloc(64, bytes)), std::free);
    std::memset(blocks_.back().get(), 0xA5, bytes);
    return reinterpret_cast<T*>(blocks_.back().get()) + shift;
  }
  template <class T>
  std::vector<T> get(const T* data, size_t count) {
    return std::vector<T>(data, data + count);
  }
  void clear() { blocks_.clear(); }

  void run(const kernels::cuda::FakeQuantizeArgs& a) { launch_fake_quantize(launcher_, a); }
  void run(const kernels::cuda::FakeQuantizeBackwardArgs& a) {
    launch_fake_quantize_backward(launcher_, a);
  }
  void run(const kernels::cuda::QuantizeArgs& a) { launch_quantize(launcher_, a); }
  void run(const kernels::cuda::LsqBackwardArgs& a) { launch_lsq_backward(launcher_, a); }
  void run(const kernels::cuda::SignArgs& a) { launch_sign(launcher_, a); }
  void run(const kernels::cuda::SignBackwardArgs& a) { launch_sign_backward(launcher_, a); }
  void run(const kernels::cuda::DorefaWeightsArgs& a) { launch_dorefa_weights(launcher_, a); }
  void run(const kernels::cuda::DorefaWeightsBackwardArgs& a) {
    launch_dorefa_weights_backward(launcher_, a);
  }
  void run(const kernels::cuda::DorefaActivationsArgs& a) {
    launch_dorefa_activations(launcher_, a);
  }
  void run(const kernels::cuda::DorefaActivationsBackwardArgs& a) {
    launch_dorefa_activations_backward(launcher_, a);
  }
  void run(const kernels::cuda::DorefaGradientsArgs& a) { launch_dorefa_gradients(launcher_, a); }
  void run(const kernels::cuda::ObserveArgs& a) { launch_observe(launcher_, a); }
  void run(const kernels::cuda::HistogramArgs& a) { launch_add_histogram(launcher_, a); }
  void run(const kernels::cuda::EpilogueArgs& a) { launch_epilogue_to_codes(launcher_, a); }
  void run(const kernels::cuda::EpilogueFloatArgs& a) { launch_epilogue_to_float(launcher_, a); }
  void run(const kernels::cuda::SgdArgs& a) { launch_sgd(launcher_, a); }
  void run(const kernels::cuda::AdamArgs& a) { launch_adam(launcher_, a); }

 private:
  HostLauncher launcher_;
  std::vector<std::unique_ptr<unsigned char, decltype(&std::free)>> blocks_;
};

}  // namespace halftone::test
