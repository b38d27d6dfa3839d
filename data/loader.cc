#include "data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <thread>

#include "data/device_set.h"
#include "data/loader_slot.h"

namespace halftone {
namespace {

constexpr uint64_t kShuffleKey = 0x73687566'666c6531;  // keeps the shuffle's draws to itself

// Fisher-Yates from the end, as Knuth's algorithm P.
void fill_order(std::vector<int64_t>& order, const LoaderOptions& options, int64_t epoch) {
  std::iota(order.begin(), order.end(), int64_t{0});
  if (!options.shuffle) return;
  const Philox random{options.seed ^ kShuffleKey, static_cast<uint64_t>(epoch)};
  for (size_t left = order.size(); left > 1; --left) {
    std::swap(order[left - 1], order[random.below(left, left)]);
  }
}

void check_options(const Dataset& dataset, const LoaderOptions& o) {
  const auto fail = [](const std::string& expected, const std::string& found) {
    throw HALFTONE_ERROR("loader").expected(expected).found(found);
  };
  if (o.batch_size < 1) fail("batch_size of at least 1", std::to_string(o.batch_size));
  if (o.workers < 0) fail("workers of at least 0", std::to_string(o.workers));
  if (o.prefetch < 1) fail("prefetch of at least 1", std::to_string(o.prefetch));
  if (o.augmentation.pad < 0) fail("pad of at least 0", std::to_string(o.augmentation.pad));
  if (o.dtype != DType::kFloat32 && o.dtype != DType::kUInt8) {
    fail("dtype float32 or uint8", name_of(o.dtype));
  }
  if (o.drop_last && dataset.size() < o.batch_size) {
    fail("at least one full batch of " + std::to_string(o.batch_size) + " under drop_last",
         std::to_string(dataset.size()) + " samples");
  }
}

}  // namespace

std::vector<int64_t> shuffled_order(int64_t count, uint64_t seed, int64_t epoch) {
  LoaderOptions options;
  options.seed = seed;
  std::vector<int64_t> order(static_cast<size_t>(count));
  fill_order(order, options, epoch);
  return order;
}

void Batch::make() {
  if (gather == nullptr) return;
  gather(draws.to(images.context()), images, labels);
  gather = nullptr;
}

// Slots go free -> working -> ready -> lent -> free. Tickets (which batch a slot gets) are handed
// out in order under the mutex; filling a slot happens outside it and reads only the slot, the set
// and the options.
struct Loader::Impl {
  Impl(const Context& c, std::shared_ptr<const Dataset> set, const LoaderOptions& o)
      : context(c), dataset(std::move(set)), options(o), filler(*dataset, options) {
    order.resize(static_cast<size_t>(dataset->size()));
    fill_order(order, options, 0);
    device = device_set();
    if (device != nullptr) return;
    for (int i = 0; i <= options.prefetch; ++i) add_slot();
    try {
      for (int i = 0; i < options.workers; ++i) threads.emplace_back([this] { work(); });
    } catch (...) {  // no more threads to be had: those that run must end first
      stop();
      throw;
    }
  }

  ~Impl() { stop(); }

  void stop() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      stopping = true;
    }
    wake_workers.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  // Null where the host makes the batches: on the CPU, of what no device makes, and of a set for
  // which the device has no memory.
  std::unique_ptr<DeviceSet> device_set() const {
    if (context.on_cpu() || !DeviceSet::takes(*dataset, options)) return nullptr;
    try {
      return std::make_unique<DeviceSet>(context, *dataset, options);
    } catch (const Error& e) {
      if (e.op() != kOutOfDeviceMemory) throw;
      return nullptr;
    }
  }

  void add_slot() {
    slots.push_back(std::make_unique<BatchSlot>(context.host(), *dataset, options));
  }

  int64_t used_samples() const {
    return options.drop_last ? dataset->size() / options.batch_size * options.batch_size
                             : dataset->size();
  }

  int64_t batches() const { return (used_samples() + options.batch_size - 1) / options.batch_size; }

  int64_t count(SlotState state) const {
    return std::count_if(slots.begin(), slots.end(),
                         [&](const auto& s) { return s->state == state; });
  }

  BatchSlot* find(SlotState state) const {
    for (const auto& slot : slots) {
      if (slot->state == state) return slot.get();
    }
    return nullptr;
  }

  // Of the batch at the ticket, which moves on.
  void fill_samples(std::vector<int64_t>& samples) {
    const int64_t begin = ticket.batch * options.batch_size;
    const int64_t end = std::min(begin + options.batch_size, used_samples());
    samples.assign(order.begin() + begin, order.begin() + end);
    advance(ticket);
    if (ticket.batch == 0) fill_order(order, options, ticket.epoch);
  }

  // Null when enough is under way. The slot leaves with the next ticket.
  BatchSlot* take_ticket() {
    if (count(SlotState::kWorking) + count(SlotState::kReady) >= options.prefetch) return nullptr;
    BatchSlot* slot = find(SlotState::kFree);
    if (!slot) return nullptr;
    slot->epoch = ticket.epoch;
    slot->index = ticket.batch;
    slot->last_of_epoch = ticket.batch + 1 == batches();
    slot->state = SlotState::kWorking;
    fill_samples(slot->samples);
    return slot;
  }

  void advance(LoaderState& s) const {
    if (++s.batch < batches()) return;
    s.batch = 0;
    ++s.epoch;
  }

  void work() {
    std::unique_lock<std::mutex> lock(mutex);
    while (true) {
      BatchSlot* slot = nullptr;
      wake_workers.wait(lock, [&] { return stopping || (!paused && (slot = take_ticket())); });
      if (stopping) return;
      lock.unlock();
      filler.fill(*slot);
      lock.lock();
      slot->state = SlotState::kReady;
      wake_consumer.notify_one();
    }
  }

  // Slots whose batch the consumer has dropped come back; those it keeps are replaced.
  void recycle() {
    for (const auto& slot : slots) {
      if (slot->state == SlotState::kLent && slot->returned()) slot->state = SlotState::kFree;
    }
    const int64_t usable = static_cast<int64_t>(slots.size()) - count(SlotState::kLent);
    for (int64_t i = usable; i < options.prefetch; ++i) add_slot();
  }

  BatchSlot* wait_for_position(std::unique_lock<std::mutex>& lock) {
    BatchSlot* wanted = nullptr;
    wake_consumer.wait(lock, [&] {
      for (const auto& slot : slots) {
        const bool next = slot->epoch == position.epoch && slot->index == position.batch;
        if (slot->state == SlotState::kReady && next) wanted = slot.get();
      }
      return wanted != nullptr;
    });
    return wanted;
  }

  Batch next_of_device(bool made) {
    std::vector<int64_t> samples;
    fill_samples(samples);
    Batch batch;
    try {
      batch = device->batch(samples, position.epoch);
      if (made) batch.make();
    } catch (...) {  // next() tries again
      ticket = position;
      fill_order(order, options, position.epoch);
      throw;
    }
    batch.epoch = position.epoch, batch.index = position.batch;
    batch.last_of_epoch = position.batch + 1 == batches();
    advance(position);
    return batch;
  }

  Batch next(bool made) {
    std::unique_lock<std::mutex> lock(mutex);
    if (device != nullptr) return next_of_device(made);
    recycle();
    paused = false;
    if (threads.empty()) {
      BatchSlot* slot = take_ticket();
      filler.fill(*slot);
      slot->state = SlotState::kReady;
    }
    wake_workers.notify_all();
    BatchSlot* slot = wait_for_position(lock);
    if (slot->error) {
      const std::exception_ptr error = slot->error;
      go_to(lock, position);
      paused = true;  // nothing is tried again before the consumer asks for it
      std::rethrow_exception(error);
    }
    slot->state = SlotState::kLent;
    advance(position);
    wake_workers.notify_one();
    return on_device(slot->batch());
  }

  // A copy there; on the CPU, the batch itself.
  Batch on_device(Batch batch) const {
    batch.images = batch.images.to(context);
    batch.labels = batch.labels.to(context);
    return batch;
  }

  // Waits for what is under way, forgets what is ready, and starts again at `state`.
  void go_to(std::unique_lock<std::mutex>& lock, const LoaderState& state) {
    paused = true;
    wake_consumer.wait(lock, [&] { return count(SlotState::kWorking) == 0; });
    for (const auto& slot : slots) {
      if (slot->state == SlotState::kReady) slot->state = SlotState::kFree;
    }
    position = ticket = state;
    fill_order(order, options, state.epoch);
    paused = false;
  }

  const Context context;
  const std::shared_ptr<const Dataset> dataset;
  const LoaderOptions options;
  const SlotFiller filler;
  std::unique_ptr<DeviceSet> device;  // where it makes the batches: no slots, no threads

  mutable std::mutex mutex;  // guards all below
  std::condition_variable wake_workers, wake_consumer;
  std::vector<std::unique_ptr<BatchSlot>> slots;
  std::vector<int64_t> order;  // of the ticket's epoch
  LoaderState ticket, position;
  bool stopping = false, paused = false;
  std::vector<std::thread> threads;
};

Loader::Loader(const Context& context, std::shared_ptr<const Dataset> dataset,
               const LoaderOptions& options) {
  check_dataset(*dataset);
  check_options(*dataset, options);
  impl_ = std::make_unique<Impl>(context, std::move(dataset), options);
}

Loader::~Loader() = default;

Batch Loader::next() { return impl_->next(true); }
Batch Loader::next_unmade() { return impl_->next(false); }
int64_t Loader::batches_per_epoch() const { return impl_->batches(); }
int64_t Loader::samples_per_epoch() const { return impl_->used_samples(); }
const Dataset& Loader::dataset() const { return *impl_->dataset; }
const LoaderOptions& Loader::options() const { return impl_->options; }

LoaderState Loader::state() const {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->position;
}

void Loader::seek(const LoaderState& state) {
  if (state.epoch < 0 || state.batch < 0 || state.batch >= impl_->batches()) {
    throw HALFTONE_ERROR("loader seek")
        .expected("an epoch of at least 0 and a batch in [0, " + std::to_string(impl_->batches()) +
                  ")")
        .found("epoch " + std::to_string(state.epoch) + ", batch " + std::to_string(state.batch))
        .fix("the position was saved with another batch size or data set");
  }
  std::unique_lock<std::mutex> lock(impl_->mutex);
  impl_->go_to(lock, state);
  impl_->wake_workers.notify_all();
}

}  // namespace halftone
