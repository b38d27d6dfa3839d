// One batch buffer of a Loader, and what fills it.
#pragma once

#include <exception>
#include <vector>

#include "data/loader.h"

namespace halftone {

enum class SlotState : uint8_t { kFree, kWorking, kReady, kLent };

struct BatchSlot {
  BatchSlot(const Context& context, const Dataset& dataset, const LoaderOptions& options);

  Batch batch() const;    // handles on this slot's buffers, cut to the number of samples
  bool returned() const;  // no handle but the slot's own is left

  SlotState state = SlotState::kFree;
  Tensor images, labels;         // batch_size samples
  std::vector<int64_t> samples;  // which of the set, in order
  int64_t epoch = 0, index = 0;
  bool last_of_epoch = false;
  std::vector<uint8_t> scratch;  // one sample, for Augmentation::edit
  std::exception_ptr error;      // what filling threw
};

// Fills slots; const, so that threads share it.
class SlotFiller {
 public:
  SlotFiller(const Dataset& dataset, const LoaderOptions& options);
  void fill(BatchSlot& slot) const noexcept;  // a failure goes to slot.error

 private:
  void fill_sample(BatchSlot& slot, int64_t row) const;

  const Dataset& dataset_;
  const LoaderOptions& options_;
  SampleShape shape_;
  int64_t bytes_;  // of one sample
  std::vector<float> table_;
};

}  // namespace halftone
