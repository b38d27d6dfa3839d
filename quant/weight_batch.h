// The weights of a network's chains in training steps that stay on a device: quantized by one
// launch. Inside //quant only.
#pragma once

#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace halftone {

struct Chain;

// What the sums of a layer's step are made with.
struct WeightIntegers {
  Tensor whole;      // (code - zero point) 2^shift, negated where gamma is negative; float32
  Tensor high, low;  // where wanted: whole = 16 high + low, |low| <= 8
};

// Whether the launch finds the ranges of the rows too, so that nobody else observes them.
bool launch_observes(const Chain& chain);

class WeightBatch {
 public:
  // chain: its weight's quantizer stays on the device. The first chain of a forward has those of
  // all quantized, but for chains that never ran in this way. A rule that comes before rounding
  // (DoReFa), and the range of a whole tensor, take a launch of their own.
  WeightIntegers take(const std::shared_ptr<Chain>& chain, int shift, bool parts);

 private:
  struct Entry {
    std::weak_ptr<Chain> chain;
    int shift = 0;
    bool parts = false;
    int64_t ready = 0;  // the step whose weights these are; 0: none, or taken
    WeightIntegers integers;
  };
  Entry* find(const std::shared_ptr<Chain>& chain);
  void launch(const std::vector<Entry*>& entries);

  std::vector<Entry> entries_;
};

}  // namespace halftone
