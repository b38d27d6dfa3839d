// Batches made on a machine against the loader's, bit for bit.
#pragma once

#include "data/augment.h"
#include "kernels/augment_cuda.h"
#include "test/kernels/cuda/values.h"

namespace halftone::test {

inline Dataset byte_pictures(int64_t count, int64_t height, int64_t width, int64_t channels) {
  Dataset set;
  std::vector<uint8_t> bytes(count * height * width * channels);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 97 % 251);
  set.images = Tensor::from(Context(), {count, height, width, channels}, bytes);
  for (int64_t i = 0; i < count; ++i) set.labels.push_back(static_cast<int>(i * 3 % 10));
  for (int64_t c = 0; c < channels; ++c) {
    set.mean.push_back(0.4f + 0.05f * static_cast<float>(c));
    set.stddev.push_back(0.25f);
  }
  return set;
}

template <class Machine>
void check_augment(Machine& machine, int64_t channels, int pad, bool flip) {
  const int64_t count = 40, height = 9, width = 8, values = height * width * channels;
  const Dataset set = byte_pictures(count, height, width, channels);
  const std::vector<float> table = normalisation_table(set);
  std::vector<int64_t> labels(set.labels.begin(), set.labels.end()), samples, wanted;
  for (int64_t i = 0; i < 23; ++i) samples.push_back(i * 17 % count);
  Augmentation augmentation;
  augmentation.pad = pad, augmentation.flip = flip;
  std::vector<float> want(samples.size() * values);
  for (size_t i = 0; i < samples.size(); ++i) {
    move_normalised(set.images.data<uint8_t>() + samples[i] * values, {height, width, channels},
                    draw_sample(augmentation, 11, 5, samples[i]), table.data(),
                    want.data() + i * values);
    wanted.push_back(labels[samples[i]]);
  }
  kernels::cuda::AugmentArgs args;
  args.batch = static_cast<int64_t>(samples.size());
  samples.push_back(5);
  args.height = height, args.width = width, args.channels = channels;
  args.images = machine.put(set.images.to_vector<uint8_t>());
  args.labels = machine.put(labels), args.samples = machine.put(samples);
  args.table = machine.put(table);
  args.pad = pad, args.flip = flip, args.seed = 11;
  args.x = machine.template room<float>(want.size());
  args.batch_labels = machine.template room<int64_t>(wanted.size());
  machine.run(args);
  require_same_bits(machine.get(args.x, want.size()), want);
  require_same_bits(machine.get(args.batch_labels, wanted.size()), wanted);
  machine.clear();
}

template <class Machine>
void check_all_augment(Machine& machine) {
  for (const int64_t channels : {1, 3}) {
    for (const int pad : {0, 2}) {
      for (const bool flip : {false, true}) check_augment(machine, channels, pad, flip);
    }
  }
}

}  // namespace halftone::test
