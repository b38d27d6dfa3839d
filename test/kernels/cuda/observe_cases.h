// Observers and histograms against the CPU's, on any machine.
#pragma once

#include "kernels/histogram.h"
#include "kernels/observe_cuda.h"
#include "kernels/quantize.h"
#include "test/kernels/cuda/quantize_cases.h"

namespace halftone::test {

// Ranges compare as numbers: which of two zeros is kept depends on the order, and no grid does.
template <class T, class Machine>
void check_observe(Machine& machine, const ChannelLayout& layout, int shift) {
  using namespace kernels::cuda;
  const Context context;
  ObserveArgs args;
  args.layout = layout, args.dtype = DTypeOf<T>::value;
  args.rule.is_signed = layout.channels % 2 == 0, args.rule.symmetric = args.rule.is_signed;
  const size_t channels = layout.channels;
  args.low = machine.put(std::vector<float>(channels, INFINITY));
  args.high = machine.put(std::vector<float>(channels, -INFINITY));
  args.scale = machine.template room<float>(channels);
  args.zero_point = machine.template room<int32_t>(channels);
  args.not_finite = machine.put(std::vector<int32_t>(1, 0));
  std::vector<kernels::Range> tracked;
  for (int step = 0; step < 4; ++step) {
    const std::vector<T> x =
        as<T>(random_values(layout.numel(), 60 + step, 1.0f + static_cast<float>(step)));
    args.x = machine.put(x, shift);
    args.tracking =
        step == 2 ? Tracking::kMinMax : (step == 3 ? Tracking::kCurrent : Tracking::kEma);
    machine.run(args);
    const auto seen = kernels::observe_ranges(tensor_of(context, layout, to_floats(x)), 1);
    if (step == 0) tracked = seen;
    for (size_t c = 0; c < channels; ++c) {
      kernels::Range& t = tracked[c];
      if (step == 1) {
        t = {quant_math::ema(t.low, seen[c].low, 0.99),
             quant_math::ema(t.high, seen[c].high, 0.99)};
      } else if (step == 2) {
        t = {std::min(t.low, seen[c].low), std::max(t.high, seen[c].high)};
      } else {
        t = seen[c];
      }
    }
    const auto low = machine.get(args.low, channels), high = machine.get(args.high, channels);
    const auto scale = machine.get(args.scale, channels);
    const auto zero_point = machine.get(args.zero_point, channels);
    for (size_t c = 0; c < channels; ++c) {
      const auto grid = quant_math::choose_grid(tracked[c].low, tracked[c].high, args.rule);
      REQUIRE(low[c] == tracked[c].low);
      REQUIRE(high[c] == tracked[c].high);
      REQUIRE(scale[c] == grid.scale);
      REQUIRE(zero_point[c] == grid.zero_point);
    }
  }
  REQUIRE(machine.get(args.not_finite, 1)[0] == 0);
  machine.clear();
}

// NaN and infinities leave their channel as it was, and say so.
template <class Machine>
void check_observe_refusal(Machine& machine, float bad) {
  using namespace kernels::cuda;
  std::vector<float> x = random_values(4 * 1000, 70);
  x[4 * 777 + 2] = bad;
  ObserveArgs args;
  args.layout = {1000, 4, 1};
  args.x = machine.put(x);
  args.low = machine.put(std::vector<float>(4, -1.0f));
  args.high = machine.put(std::vector<float>(4, 1.0f));
  args.not_finite = machine.put(std::vector<int32_t>(1, 0));
  machine.run(args);
  const auto low = machine.get(args.low, 4), high = machine.get(args.high, 4);
  REQUIRE(machine.get(args.not_finite, 1)[0] == 1);
  for (int c = 0; c < 4; ++c) {
    REQUIRE((low[c] == -1.0f) == (c == 2));
    REQUIRE((high[c] == 1.0f) == (c == 2));
  }
  machine.clear();
}

template <class T, class Machine>
void check_histogram(Machine& machine, int64_t n, int shift, float low, float high, int bins) {
  using namespace kernels::cuda;
  const Context context;
  const std::vector<T> x = as<T>(awkward_values(n, 80));
  HistogramArgs args;
  args.numel = n, args.dtype = DTypeOf<T>::value, args.bins = bins;
  args.x = machine.put(x, shift);
  args.low = machine.put(std::vector<float>{low});
  args.high = machine.put(std::vector<float>{high});
  args.counts = machine.put(std::vector<uint64_t>(bins, 5));
  machine.run(args);
  const auto got = machine.get(args.counts, bins);
  const auto want = kernels::histogram(Tensor::from(context, {n}, to_floats(x)), low, high, bins);
  for (int b = 0; b < bins; ++b) REQUIRE(got[b] == static_cast<uint64_t>(want[b]) + 5);
  machine.clear();
}

// Batches that widen a histogram a little, much (so that the old range is less than a cell of the
// new one), and not at all; the first may be a constant.
template <class Machine>
void check_widening(Machine& machine, bool exact, int bins, float first) {
  using namespace kernels;
  namespace device = kernels::cuda;
  const Context context;
  SymmetricHistogram symmetric;
  RangeHistogram ranged;
  device::WidenHistogramArgs widen;
  widen.bins = bins;
  float* low = machine.put(std::vector<float>{INFINITY});
  float* high = machine.put(std::vector<float>{-INFINITY});
  uint64_t* counted = machine.put(std::vector<uint64_t>(bins, 0));
  widen.low = low, widen.high = high;
  widen.range = machine.put(std::vector<float>{exact ? 0.0f : 1.0f, 0.0f});
  if (exact) widen.exact_counts = counted;
  if (!exact) widen.counts = machine.put(std::vector<float>(bins, 0.0f));
  uint32_t step = 0;
  for (const float size : {first, 1.0f, 1.3f, 0.5f, 40.0f, 1e12f, 3.0f}) {
    const std::vector<float> x = size == 0.0f ? std::vector<float>(7, 0.25f * first)
                                              : random_values(3001, 150 + step++, size);
    const Tensor batch = Tensor::from(context, {static_cast<int64_t>(x.size())}, x);
    exact ? update_histogram(batch, bins, symmetric)
          : update_histogram(batch, {bins, 128, false}, ranged);
    device::ObserveArgs observe;
    observe.layout = {1, 1, batch.numel()}, observe.tracking = device::Tracking::kMinMax;
    observe.x = machine.put(x), observe.low = low, observe.high = high;
    machine.run(observe);
    machine.run(widen);
    device::HistogramArgs add;
    add.numel = batch.numel(), add.x = observe.x, add.bins = bins;
    add.low = widen.range, add.high = widen.range + 1, add.counts = counted;
    machine.run(add);
    if (!exact) machine.run(device::MoveCountsArgs{bins, counted, widen.counts});
    const auto range = machine.get(widen.range, 2);
    REQUIRE(range[1] == (exact ? symmetric.high : ranged.high));
    REQUIRE(range[0] == (exact ? -symmetric.high : ranged.low));
    if (!exact) {
      REQUIRE(machine.get(widen.counts, bins) == ranged.counts);
      continue;
    }
    const auto got = machine.get(counted, bins);
    for (int b = 0; b < bins; ++b) REQUIRE(got[b] == static_cast<uint64_t>(symmetric.counts[b]));
  }
  machine.clear();
}

template <class Machine>
void check_all_observers(Machine& machine, const std::vector<ChannelLayout>& list) {
  for (const ChannelLayout& layout : list) {
    if (layout.numel() == 0) continue;
    INFO(text(layout));
    check_observe<float>(machine, layout, 0);
    check_observe<BFloat16>(machine, layout, 1);
  }
  check_observe_refusal(machine, std::nanf(""));
  check_observe_refusal(machine, INFINITY);
  check_observe_refusal(machine, -INFINITY);
  for (const float first : {0.0f, 0.01f}) {
    check_widening(machine, true, 4096, first);
    check_widening(machine, false, 2048, first);
    check_widening(machine, true, 4, first);
    check_widening(machine, false, 8, first);
  }
  for (const int64_t n : {1, 20011}) {
    check_histogram<float>(machine, n, 0, -20.0f, 30.0f, 2048);
    check_histogram<BFloat16>(machine, n, 3, -1.0f, 1.0f, 8192);
    check_histogram<float>(machine, n, 1, 1.0f, 1.0f, 4);
  }
}

}  // namespace halftone::test
