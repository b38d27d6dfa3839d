#include "data/loader_slot.h"

#include <cstring>

namespace halftone {
namespace {

constexpr uint64_t kEditKey = 0x65646974'20627974;
constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;  // spreads epochs over seeds

}  // namespace

BatchSlot::BatchSlot(const Context& context, const Dataset& set, const LoaderOptions& options)
    : images(Tensor::zeros(context, {options.batch_size, set.height(), set.width(), set.channels()},
                           options.dtype)),
      labels(Tensor::zeros(context, {options.batch_size}, DType::kInt64)) {
  samples.reserve(static_cast<size_t>(options.batch_size));
  if (options.augmentation.edit) {
    scratch.resize(static_cast<size_t>(set.height() * set.width() * set.channels()));
  }
}

Batch BatchSlot::batch() const {
  const int64_t count = static_cast<int64_t>(samples.size());
  return {images.slice(0, count), labels.slice(0, count), epoch, index, last_of_epoch};
}

bool BatchSlot::returned() const { return images.unique() && labels.unique(); }

SlotFiller::SlotFiller(const Dataset& dataset, const LoaderOptions& options)
    : dataset_(dataset),
      options_(options),
      shape_{dataset.height(), dataset.width(), dataset.channels()},
      bytes_(dataset.height() * dataset.width() * dataset.channels()),
      table_(normalisation_table(dataset)) {}

void SlotFiller::fill_sample(BatchSlot& slot, int64_t row) const {
  const int64_t sample = slot.samples[static_cast<size_t>(row)];
  const Augmentation& augmentation = options_.augmentation;
  const uint8_t* bytes = dataset_.images.data<uint8_t>() + sample * bytes_;
  if (augmentation.edit) {
    std::memcpy(slot.scratch.data(), bytes, slot.scratch.size());
    const uint64_t key = (options_.seed ^ kEditKey) + static_cast<uint64_t>(slot.epoch) * kOdd;
    augmentation.edit(Philox{key, static_cast<uint64_t>(sample)}, sample, slot.scratch.data());
    bytes = slot.scratch.data();
  }
  const SampleDraw draw = draw_sample(augmentation, options_.seed, slot.epoch, sample);
  if (options_.dtype == DType::kUInt8) {
    move_bytes(bytes, shape_, draw, slot.images.data<uint8_t>() + row * bytes_);
  } else {
    move_normalised(bytes, shape_, draw, table_.data(), slot.images.data<float>() + row * bytes_);
  }
  slot.labels.data<int64_t>()[row] = dataset_.labels[static_cast<size_t>(sample)];
}

void SlotFiller::fill(BatchSlot& slot) const noexcept {
  slot.error = nullptr;
  try {
    for (size_t row = 0; row < slot.samples.size(); ++row) {
      fill_sample(slot, static_cast<int64_t>(row));
    }
  } catch (...) {
    slot.error = std::current_exception();
  }
}

}  // namespace halftone
