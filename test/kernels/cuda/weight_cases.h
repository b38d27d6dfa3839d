// Scaled signs, and all weights of a network in one launch, against the CPU's kernels, on any
// machine.
#pragma once

#include "kernels/binary.h"
#include "kernels/binary_cuda.h"
#include "kernels/dorefa.h"
#include "kernels/quantize.h"
#include "kernels/weights_cuda.h"
#include "test/kernels/cuda/values.h"

namespace halftone::test {

// Means of |w| in double, in another order of addition: the same float, but for a rare ulp.
inline void require_near_means(const std::vector<float>& got, const std::vector<float>& want) {
  REQUIRE(got.size() == want.size());
  for (size_t r = 0; r < got.size(); ++r) REQUIRE(got[r] == Approx(want[r]).epsilon(0x1p-23));
}

template <class Machine>
void check_scaled_sign(Machine& machine, int64_t rows, int64_t length, int shift) {
  const Context context;
  const int64_t n = rows * length;
  const Tensor w = Tensor::from(context, {rows, length}, random_values(n, 61));
  const Tensor dy = Tensor::from(context, {rows, length}, random_values(n, 62));
  Tensor want = Tensor::empty(context, w.shape());
  kernels::cuda::MeanMagnitudeArgs mean;
  mean.rows = rows, mean.length = length;
  mean.w = machine.put(w.to_vector<float>(), shift);
  mean.alpha = machine.template room<float>(rows);
  machine.run(mean);
  kernels::cuda::ScaledSignArgs args;
  args.rows = rows, args.length = length, args.w = mean.w, args.alpha = mean.alpha;
  args.y = machine.template room<float>(n, shift);
  machine.run(args);
  const std::vector<float> alpha = machine.get(args.alpha, rows);
  require_near_means(alpha, kernels::mean_magnitude(w, true));
  kernels::binarize_scaled(w, alpha, want);
  require_same_bits(machine.get(args.y, n), want.to_vector<float>());

  kernels::cuda::ScaledSignBackwardArgs back;
  back.rows = rows, back.length = length, back.w = args.w, back.alpha = args.alpha;
  back.dy = machine.put(dy.to_vector<float>(), shift);
  back.dw = args.y;
  machine.run(back);
  kernels::binarize_scaled_backward(dy, w, alpha, want);
  require_same_bits(machine.get(args.y, n), want.to_vector<float>());
  machine.clear();
}

template <class Machine>
void check_weight_segments(Machine& machine) {
  using namespace kernels::cuda;
  const Context context;
  const int64_t rows[] = {6, 1, 17, 3}, lengths[] = {27, 1, 300, 12000};
  std::vector<WeightSegment> segments;
  std::vector<Tensor> weights;
  for (int k = 0; k < 28; ++k) {
    WeightSegment s;
    s.rule = static_cast<WeightRule>(k % 7 < 5 ? k % 7 : (k % 7 == 5 ? 1 : 3));
    s.whole = s.one_scale = k % 7 >= 4;
    s.bits = 3;
    s.rows = rows[k / 7], s.length = lengths[k / 7];
    weights.push_back(
        Tensor::from(context, {s.rows, s.length}, random_values(s.rows * s.length, 70 + k)));
    s.w = machine.put(weights.back().to_vector<float>());
    s.y = machine.template room<float>(s.rows * s.length);
    s.scale = machine.put(std::vector<float>(s.rows, 0.05f));
    s.zero_point = machine.put(std::vector<int32_t>(s.rows, 0));
    s.grid = {8, true, true, false};
    s.qmin = -7, s.qmax = 7;
    segments.push_back(s);
  }
  machine.run(weights_from(segments, 0));

  for (size_t k = 0; k < segments.size(); ++k) {
    const WeightSegment& s = segments[k];
    INFO("segment " << k);
    const Tensor& w = weights[k];
    Tensor want = Tensor::empty(context, w.shape());
    const std::vector<float> scale = machine.get(s.scale, s.rows);
    if (s.rule == WeightRule::kSign) kernels::binarize(w, want);
    if (s.rule == WeightRule::kAlpha) {
      const std::vector<float> kept(scale.begin(), scale.begin() + (s.whole ? 1 : s.rows));
      require_near_means(kept, kernels::mean_magnitude(w, !s.whole));
      kernels::binarize_scaled(w, kept, want);
    }
    if (s.rule == WeightRule::kTanh) {
      kernels::dorefa_weights(w, kernels::dorefa_largest(w), s.bits, want);
    }
    if (s.rule == WeightRule::kGrid) {
      kernels::fake_quantize(w, {{{0.05f, 0, s.qmin, s.qmax}}, -1, {}}, want);
    }
    if (s.rule == WeightRule::kRange) {
      kernels::Grids grids;
      grids.axis = s.whole ? -1 : 0;
      for (const kernels::Range& r : kernels::observe_ranges(w, grids.axis)) {
        grids.list.push_back(quant_math::choose_grid(r.low, r.high, s.grid));
      }
      for (size_t r = 0; r < grids.list.size(); ++r) REQUIRE(scale[r] == grids.list[r].scale);
      kernels::fake_quantize(w, grids, want);
    }
    require_same_bits(machine.get(s.y, w.numel()), want.to_vector<float>());
  }
  machine.clear();
}

template <class Machine>
void check_all_weights(Machine& machine) {
  const int64_t shapes[][2] = {{1, 1}, {3, 5}, {64, 27}, {10, 1100}, {2, 9001}};
  for (const auto& s : shapes) {
    INFO(s[0] << " rows of " << s[1]);
    check_scaled_sign(machine, s[0], s[1], 0);
    check_scaled_sign(machine, s[0], s[1], 1);
  }
  // Blocks in either order, and counters that are zero again.
  for (int launch = 0; launch < 3; ++launch) check_weight_segments(machine);
}

}  // namespace halftone::test
