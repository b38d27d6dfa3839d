// Batches, prepared ahead by worker threads.
#pragma once

#include <functional>
#include <memory>

#include "data/augment.h"
#include "data/dataset.h"

namespace halftone {

struct LoaderOptions {
  int64_t batch_size = 64;
  bool shuffle = true;     // Fisher-Yates keyed by (seed, epoch); false: the set's order
  bool drop_last = false;  // drop a last batch that is not full
  int workers = 1;         // threads that prepare batches; 0: next() prepares its own
  int prefetch = 4;        // batches that may wait, ready, at any time
  uint64_t seed = 0;
  DType dtype = DType::kFloat32;  // kFloat32: normalised; kUInt8: bytes as they are
  Augmentation augmentation;
};

// NHWC, as LoaderOptions::dtype says, on the loader's device. On the CPU the memory is the batch's
// for as long as any of its tensors (or a view of one) lives; the loader reuses it afterwards.
struct Batch {
  Tensor images;
  Tensor labels;      // int64 (N)
  int64_t epoch = 0;  // counted from 0
  int64_t index = 0;  // within the epoch, counted from 0
  bool last_of_epoch = false;

  // Of next_unmade() on a device: the images and labels, not yet written, come from gather(draws,
  // images, labels) with the draws (int64) there; the loader must be alive. Null: they are made.
  Tensor draws;  // the host's
  std::function<void(const Tensor& draws, Tensor& images, Tensor& labels)> gather;
  void make();
};

// Position of the next batch. With the same set and options it is all a checkpoint has to hold.
struct LoaderState {
  int64_t epoch = 0;
  int64_t batch = 0;
};

// An endless row of epochs. The batches are a pure function of (set, options less workers and
// prefetch, position). Allocates nothing once the consumer's habits are known: buffers come from a
// ring that grows only when the consumer keeps batches. One consumer thread. For a device, the set
// lies there and the device makes the batches where it can (data/device_set.h) and has the memory;
// others are copied: the same values.
class Loader {
 public:
  Loader(const Context& context, std::shared_ptr<const Dataset> dataset,
         const LoaderOptions& options);
  ~Loader();  // stops the workers; waits for the batches in their hands
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // The next batch; waits for it. Rethrows what a worker threw while preparing this batch, after
  // which the loader rests where it stood: next() tries again.
  Batch next();
  // The same, left to make() where a device makes it: for who has that recorded with other work.
  Batch next_unmade();

  int64_t batches_per_epoch() const;
  int64_t samples_per_epoch() const;  // less than the set's size under drop_last
  LoaderState state() const;
  void seek(const LoaderState& state);  // throws when outside an epoch
  const Dataset& dataset() const;
  const LoaderOptions& options() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Order in which an epoch visits `count` samples.
std::vector<int64_t> shuffled_order(int64_t count, uint64_t seed, int64_t epoch);

}  // namespace halftone
