// The kernels on a GPU, in the shape that the shared cases want.
#pragma once

#include <memory>
#include <vector>

#include "kernels/binary_cuda.h"
#include "kernels/dorefa_cuda.h"
#include "kernels/epilogue_cuda.h"
#include "kernels/observe_cuda.h"
#include "kernels/optimizer_cuda.h"
#include "kernels/quantize_cuda.h"
#include "tensor/cuda.h"

namespace halftone::test {

class GpuMachine {
 public:
  // A copy of `values` that starts `shift` elements behind a 256-byte boundary.
  template <class T>
  T* put(const std::vector<T>& values, int shift = 0) {
    T* data = room<T>(values.size(), shift);
    if (values.empty()) return data;
    HALFTONE_CUDA(cudaMemcpyAsync(data, values.data(), values.size() * sizeof(T),
                                  cudaMemcpyHostToDevice, stream_.get()));
    stream_.synchronize();
    return data;
  }
  // Exactly as large as needed, so that compute-sanitizer sees a step outside.
  template <class T>
  T* room(size_t count, int shift = 0) {
    blocks_.emplace_back((count + static_cast<size_t>(shift)) * sizeof(T));
    return static_cast<T*>(blocks_.back().data()) + shift;
  }
  template <class T>
  std::vector<T> get(const T* data, size_t count) {
    return halftone::cuda::download<T>(stream_, data, count);
  }
  void clear() {
    stream_.synchronize();
    blocks_.clear();
  }
  halftone::cuda::Stream& stream() { return stream_; }

  void run(const kernels::cuda::FakeQuantizeArgs& a) { fake_quantize(stream_, a); }
  void run(const kernels::cuda::FakeQuantizeBackwardArgs& a) { fake_quantize_backward(stream_, a); }
  void run(const kernels::cuda::QuantizeArgs& a) { quantize(stream_, a); }
  void run(const kernels::cuda::LsqBackwardArgs& a) { lsq_backward(stream_, a); }
  void run(const kernels::cuda::SignArgs& a) { sign(stream_, a); }
  void run(const kernels::cuda::SignBackwardArgs& a) { sign_backward(stream_, a); }
  void run(const kernels::cuda::DorefaWeightsArgs& a) { dorefa_weights(stream_, a); }
  void run(const kernels::cuda::DorefaWeightsBackwardArgs& a) {
    dorefa_weights_backward(stream_, a);
  }
  void run(const kernels::cuda::DorefaActivationsArgs& a) { dorefa_activations(stream_, a); }
  void run(const kernels::cuda::DorefaActivationsBackwardArgs& a) {
    dorefa_activations_backward(stream_, a);
  }
  void run(const kernels::cuda::DorefaGradientsArgs& a) { dorefa_gradients(stream_, a); }
  void run(const kernels::cuda::ObserveArgs& a) { observe(stream_, a); }
  void run(const kernels::cuda::HistogramArgs& a) { add_histogram(stream_, a); }
  void run(const kernels::cuda::EpilogueArgs& a) { epilogue_to_codes(stream_, a); }
  void run(const kernels::cuda::EpilogueFloatArgs& a) { epilogue_to_float(stream_, a); }
  void run(const kernels::cuda::SgdArgs& a) { kernels::cuda::sgd_step(stream_, a); }
  void run(const kernels::cuda::AdamArgs& a) { kernels::cuda::adam_step(stream_, a); }

 private:
  halftone::cuda::Stream stream_;
  std::vector<halftone::cuda::Memory> blocks_;
};

}  // namespace halftone::test
