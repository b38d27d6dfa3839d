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
  // chain: its weight's quantizer stays on the device. The first chain of a forward has the weights
  // of all chains quantized that ran in its last one; what a forward leaves is not used again, as
  // weights may have changed. Weights that are folded first take a launch of their own.
  WeightIntegers take(const std::shared_ptr<Chain>& chain, int shift, bool parts);

 private:
  struct Entry {
    std::weak_ptr<Chain> chain;
    int shift = 0;
    bool parts = false;
    uint64_t ready = 0;  // the forward (Module::call_number) that made them; 0: none, or taken
    uint64_t taken = 0;  // the last forward that took them
    WeightIntegers integers;
  };
  Entry* find(const std::shared_ptr<Chain>& chain);
  std::vector<Entry*> together_with(const Entry& own);
  void launch(const std::vector<Entry*>& entries);

  std::vector<Entry> entries_;
};

}  // namespace halftone
