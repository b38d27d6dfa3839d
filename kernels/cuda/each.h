// Kernels of independent items, one to a thread, and sums over items in a fixed order.
#pragma once

#include "kernels/cuda/reduce.h"

namespace halftone::kernels::cuda {

// i / by and the rest; 32-bit numbers where they suffice, as they nearly always do.
struct Division {
  int64_t quotient, rest;
};
HALFTONE_HD Division divide(int64_t i, int64_t by) {
  if ((static_cast<uint64_t>(i) | static_cast<uint64_t>(by)) >> 32 == 0) {
    const uint32_t a = static_cast<uint32_t>(i), b = static_cast<uint32_t>(by), q = a / b;
    return {q, a - q * b};
  }
  return {i / by, i % by};
}

// ---- item(i) for every i below count ----

template <class Item>
struct EachBody {
  static constexpr int kShared = 0;
  template <class Thread>
  HALFTONE_HD void operator()(const Thread& t) const {
    const int64_t i = t.block() * kThreads + t.index();
    if (i < count) item(i);
  }
  Item item;
  int64_t count;
};

template <class Launcher, class Item>
void each(Launcher& launcher, int64_t count, const Item& item) {
  launcher.run(divide_up(count, kThreads), EachBody<Item>{item, count});
}

// ---- item.add(i, total) for every i below count, then item.finish(total) by one thread ----

// Blocks at most, whatever the device: the order of the sum follows from the count alone.
constexpr int64_t kSumBlocks = 1024;

template <class Item>
struct SumBody {
  using Total = typename Item::Total;
  static constexpr int kShared = kThreads * static_cast<int>(sizeof(Total));

  template <class Thread>
  HALFTONE_HD void operator()(const Thread& t) const {
    Total total{};
    for (int64_t i = t.block() * kThreads + t.index(); i < count; i += blocks * kThreads) {
      item.add(i, total);
    }
    Total* mine = t.template shared<Total>() + t.index();
    *mine = total;
    merge_places(t, mine, t.index(), kThreads, 1);
    if (t.index() == 0) partials[t.block()] = *mine;
    uint32_t* flag = t.template shared<uint32_t>();
    if (!is_last_block(t, counter, static_cast<uint32_t>(blocks), flag)) return;
    gather(
        t, t.template shared<Total>(), int64_t{1}, blocks,
        [&](int64_t, int64_t k) { return partials[k]; },
        [&](int64_t, const Total& all) { item.finish(all); });
  }

  Item item;
  int64_t count, blocks;
  Total* partials;
  uint32_t* counter;
};

template <class Launcher, class Item>
void sum_each(Launcher& launcher, int64_t count, const Item& item) {
  using Total = typename Item::Total;
  const int64_t wanted = divide_up(count, kThreads);
  const int64_t blocks = wanted < 1 ? 1 : smaller(wanted, kSumBlocks);
  SumBody<Item> body{item, count, blocks, nullptr, nullptr};
  body.partials = static_cast<Total*>(launcher.scratch(blocks * sizeof(Total)));
  body.counter = launcher.counters(1);
  launcher.run(blocks, body);
}

}  // namespace halftone::kernels::cuda
