// The binary weights of a network in training steps on a device: one launch makes the signs, and
// XNOR-Net's scales, of all of them. Inside //quant only.
#pragma once

#include <memory>
#include <vector>

#include "kernels/weights_cuda.h"
#include "tensor/tensor.h"

namespace halftone {

class BinaryQuantize;

// sign(w), or alpha sign(w) with alpha, the mean |w| of each row, where there is room for it.
kernels::cuda::WeightSegment sign_segment(const Tensor& w, const Tensor& alpha, Tensor& y);

class SignBatch {
 public:
  // The quantized weight of q, which has joined. The first one of a forward has those of all made
  // that the last forward took; what a forward leaves is not used again, as weights may have
  // changed.
  Tensor take(const BinaryQuantize& q);
  void join(const std::shared_ptr<const BinaryQuantize>& q) { entries_.push_back({q, 0, 0, {}}); }

 private:
  struct Entry {
    std::weak_ptr<const BinaryQuantize> quantizer;
    uint64_t ready = 0;  // the forward (Module::call_number) that made it; 0: none, or taken
    uint64_t taken = 0;  // the last forward that took it
    Tensor values;
  };
  void launch(const Entry& own);

  std::vector<Entry> entries_;
};

}  // namespace halftone
