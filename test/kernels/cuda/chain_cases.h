// Constants of layers on codes against what the CPU's kernels and the rules of
// kernels/integer/*_math.h give, on any machine.
#pragma once

#include "kernels/chain_cuda.h"
#include "kernels/epilogue.h"
#include "kernels/quantize.h"
#include "kernels/weights_cuda.h"
#include "test/kernels/cuda/values.h"

namespace halftone::test {

template <class Machine>
void check_output_grid(Machine& machine) {
  using namespace kernels::cuda;
  OutputGridArgs args;
  args.grid.scale = machine.put(std::vector<float>{0.25f});
  args.output = machine.template room<quant_math::OutputGrid>(1);
  args.zero_point = machine.template room<int32_t>(1);
  const auto run = [&] {
    machine.run(args);
    return machine.get(args.output, 1)[0];
  };
  // Signed codes of 4 bits, stored 128 higher, behind a ReLU.
  args.grid.qmin = -8, args.grid.qmax = 7, args.grid.up = 128;
  args.rule.act_low = 0.0f;
  args.rule.pass = quant_math::PassRule::kOpen;
  quant_math::OutputGrid o = run();
  REQUIRE(machine.get(args.zero_point, 1)[0] == 128);
  REQUIRE((o.scale == 0.25f && o.zero_point == 128 && o.low == 0.0f && o.high == 7.0f));
  REQUIRE((o.act_low == 0.0f && o.act_high == INFINITY));
  REQUIRE((o.pass.act_low == 0.0f && o.pass.act_high == 7.0f && o.pass.code_high == INFINITY));
  REQUIRE((o.rule.scale == 1.0f && o.rule.low == -8.0f && o.rule.high == 7.0f));
  // LSQ+: z = rint(0.6 / 0.25) = 2, and the bounds of its own codes.
  args.grid = {args.grid.scale, nullptr, machine.put(std::vector<float>{-0.6f}), 0, 15};
  args.rule = {-1.0f, 1.0f, quant_math::PassRule::kOpen, {}, true};
  o = run();
  REQUIRE(machine.get(args.zero_point, 1)[0] == 2);
  REQUIRE((o.low == -2.0f && o.high == 4.0f && o.act_low == -4.0f && o.act_high == 4.0f));
  REQUIRE((o.rule.low == -2.0f && o.rule.high == 13.0f));
  REQUIRE((o.rule.below == 0.0f && o.rule.above == 15.0f));
  // A zero point, and where the rounded code passes.
  args.grid = {args.grid.scale, machine.put(std::vector<int32_t>{3}), nullptr, 0, 255};
  args.rule = {};
  o = run();
  REQUIRE((o.low == -3.0f && o.high == 252.0f && o.pass.act_low == -INFINITY));
  REQUIRE((o.pass.code_low == -3.0f && o.pass.code_high == 252.0f));
  args.rule.pass = quant_math::PassRule::kFixed;
  args.rule.fixed.act_high = 9.0f;
  REQUIRE(run().pass.act_high == 9.0f);
  machine.clear();
}

struct RowCase {
  int shift;
  bool per_row, zero_points, range;  // range: the grids are those of the rows' own ranges
};

// Rows, integers and reals of weights, as quantize_weights and weights_to_reals have them.
template <class Machine>
void check_weight_rows(Machine& machine, const RowCase& k) {
  using namespace kernels::cuda;
  constexpr int64_t kRows = 5, kLength = 300;
  const Context context;
  const Tensor w = Tensor::from(context, {kRows, kLength}, random_values(kRows * kLength, 81));
  const std::vector<char> negated = {0, 1, 0, 0, 1};
  const quant_math::GridRule rule{8, false, false, false};
  std::vector<float> scales;
  std::vector<int32_t> zeros;
  std::vector<quant_math::Grid> grids;
  const std::vector<kernels::Range> ranges = kernels::observe_ranges(w, 0);
  for (int r = 0; r < (k.per_row ? kRows : 1); ++r) {
    const int32_t most = k.shift > 0 ? 7 : 127;
    quant_math::Grid g{0.01f * static_cast<float>(r + 1), k.zero_points ? 3 - 2 * r : 0, -most,
                       most};
    if (k.range) g = quant_math::choose_grid(ranges[r].low, ranges[r].high, rule);
    grids.push_back(g);
    scales.push_back(k.range ? 0.0f : g.scale);
    zeros.push_back(k.range ? 0 : g.zero_point);
  }
  const auto grid = [&](int64_t r) { return grids[k.per_row ? r : 0]; };
  WeightSegment s;
  s.rule = k.range ? WeightRule::kRange : WeightRule::kGrid;
  s.result = WeightResult::kParts;
  s.rows = kRows, s.length = kLength, s.one_scale = !k.per_row;
  s.w = machine.put(w.to_vector<float>());
  s.y = machine.template room<float>(w.numel());
  s.high = machine.template room<float>(w.numel());
  s.low = machine.template room<float>(w.numel());
  s.scale = machine.put(scales);
  if (k.zero_points || k.range) s.zero_point = machine.put(zeros);
  s.grid = rule, s.qmin = grids[0].qmin, s.qmax = grids[0].qmax;
  s.gamma = machine.put(std::vector<float>{1.0f, -2.0f, 0.0f, -0.0f, -1e-20f});
  s.shift = k.shift;
  s.range_low = machine.template room<float>(kRows);
  s.range_high = machine.template room<float>(kRows);
  machine.run(weights_from({s}, 0));
  const auto got = machine.get(s.y, w.numel());
  const auto high = machine.get(s.high, w.numel()), low = machine.get(s.low, w.numel());
  for (int64_t i = 0; i < w.numel(); ++i) {
    const int64_t r = i / kLength;
    const int32_t steps = quant_math::quantize(w.data<float>()[i], grid(r)) - grid(r).zero_point;
    REQUIRE(got[i] == static_cast<float>((negated[r] ? -steps : steps) * (1 << k.shift)));
    REQUIRE(16.0f * high[i] + low[i] == got[i]);
    REQUIRE(std::fabs(low[i]) <= 8.0f);
  }
  if (k.range) {
    const auto lows = machine.get(s.range_low, kRows), highs = machine.get(s.range_high, kRows);
    for (int64_t r = 0; r < kRows; ++r) {
      REQUIRE((lows[r] == ranges[r].low && highs[r] == ranges[r].high));
    }
  }

  WeightRowsArgs rows;
  rows.rows = kRows, rows.per_row = k.per_row, rows.shift = k.shift;
  rows.input_scale = machine.put(std::vector<float>{0.3f});
  rows.scale = s.scale, rows.gamma = s.gamma;
  rows.flips = machine.template room<int32_t>(kRows);
  rows.units = machine.template room<double>(kRows);
  rows.reals = machine.template room<float>(kRows);
  machine.run(rows);
  const auto flips = machine.get(rows.flips, kRows);
  const auto units = machine.get(rows.units, kRows);
  const auto reals = machine.get(rows.reals, kRows);
  for (int64_t r = 0; r < kRows; ++r) {
    const float stored = std::ldexp(grid(r).scale, -k.shift);
    const double unit = static_cast<double>(0.3f) * static_cast<double>(stored);
    REQUIRE(flips[r] == (negated[r] ? -1 : 0));
    REQUIRE(units[r] == (negated[r] ? -unit : unit));
    REQUIRE(reals[r] == (negated[r] ? -stored : stored));
  }
  machine.run(ScaleRowsArgs{kRows, kLength, rows.reals, s.y, s.y});
  const auto scaled = machine.get(s.y, w.numel());
  for (int64_t i = 0; i < w.numel(); ++i) REQUIRE(scaled[i] == reals[i / kLength] * got[i]);
  machine.clear();
}

// A row that is not finite keeps its grid and its range, and says so; more segments than a launch
// holds.
template <class Machine>
void check_many_weights(Machine& machine) {
  using namespace kernels::cuda;
  constexpr int kCount = kWeightSegments + 3;
  std::vector<WeightSegment> segments;
  for (int k = 0; k < kCount; ++k) {
    WeightSegment s;
    s.rule = WeightRule::kRange, s.result = WeightResult::kIntegers;
    s.rows = 1 + k % 3, s.length = 2;
    std::vector<float> w(2 * s.rows, static_cast<float>(k + 1));
    if (k == 7) w[3] = NAN;
    s.w = machine.put(w);
    s.y = machine.template room<float>(w.size());
    s.scale = machine.put(std::vector<float>(s.rows, 0.5f));
    s.zero_point = machine.put(std::vector<int32_t>(s.rows, 0));
    s.grid = {8, true, true, false};
    s.range_low = machine.put(std::vector<float>(s.rows, -5.0f));
    s.not_finite = machine.put(std::vector<int32_t>{0});
    segments.push_back(s);
  }
  machine.run(weights_from(segments, 0));
  machine.run(weights_from(segments, kWeightSegments));
  for (int k = 0; k < kCount; ++k) {
    const WeightSegment& s = segments[k];
    INFO("segment " << k);
    const auto y = machine.get(s.y, 2 * s.rows), low = machine.get(s.range_low, s.rows);
    REQUIRE(machine.get(s.not_finite, 1)[0] == (k == 7 ? 1 : 0));
    for (int64_t r = 0; r < s.rows; ++r) {
      const bool kept = k == 7 && r == 1;
      REQUIRE(y[2 * r] == (kept ? 16.0f : 127.0f));
      REQUIRE(low[r] == (kept ? -5.0f : static_cast<float>(k + 1)));
    }
  }
  machine.clear();
}

// Batch norm of a layer's accumulators.
struct FoldCase {
  bool normalised, batch, quantized;
};

template <class Machine>
void check_fold(Machine& machine, const FoldCase& k) {
  using namespace kernels::cuda;
  constexpr int64_t kRows = 400, kChannels = 6;
  const Context context;
  const std::vector<float> noise = random_values(kRows * kChannels, 82);
  std::vector<int32_t> acc;
  for (const float v : noise) acc.push_back(static_cast<int32_t>(v * 1e8f));
  const Tensor accumulators = Tensor::from(context, {kRows, kChannels}, acc);
  const auto statistics = kernels::accumulator_statistics(accumulators, int64_t{1} << 30);
  const std::vector<float> gamma = {1, -2, 0, 0.5f, 3, 1}, beta = {0, 1, 2, -1, 1e20f, 0.1f};
  const std::vector<float> bias = random_values(kChannels, 83);
  const std::vector<float> mean = random_values(kChannels, 84);
  const std::vector<float> variance = {1, 2, 3, 4, 5, 1e-3f};
  std::vector<double> units;
  for (int64_t c = 0; c < kChannels; ++c) units.push_back(c == 1 ? -1e-9 : 1e-9);

  FoldChannelsArgs a;
  a.channels = kChannels, a.count = kRows, a.shift = 3;
  a.input_scale = machine.put(std::vector<float>{0.02f});
  a.weight_scale = machine.put(std::vector<float>{0.4f});
  a.units = machine.put(units), a.bias = machine.put(bias);
  a.normalised = k.normalised;
  if (k.normalised) a.gamma = machine.put(gamma), a.beta = machine.put(beta);
  a.running_mean = machine.put(mean), a.running_variance = machine.put(variance), a.eps = 1e-5f;
  AccumulatorStatisticsArgs s{kRows, kChannels, machine.put(acc),
                              machine.template room<AccumulatorTotal>(kChannels)};
  machine.run(s);
  if (k.batch) a.totals = s.totals;
  if (k.batch) a.mean = machine.template room<float>(kChannels);
  if (k.batch) a.variance = machine.template room<float>(kChannels);
  quant_math::OutputGrid grid;
  grid.scale = 0.07f;
  if (k.quantized) a.output = machine.put(std::vector<quant_math::OutputGrid>{grid});
  a.constants = machine.template room<quant_math::Channel>(kChannels);
  a.normal = machine.template room<quant_math::Normalised>(kChannels);
  a.centre = machine.template room<float>(kChannels);
  machine.run(a);
  const auto constants = machine.get(a.constants, kChannels);
  const auto normal = machine.get(a.normal, kChannels);
  const auto centre = machine.get(a.centre, kChannels);
  for (int64_t c = 0; c < kChannels; ++c) {
    INFO("channel " << c);
    quant_math::FoldInput in;
    in.input_scale = 0.02f, in.weight_scale = 0.05f;  // 0.4 / 2^3
    in.bias = bias[c], in.output_scale = k.quantized ? grid.scale : 0.0f;
    if (k.normalised) {
      in.normalised = true;
      in.gamma = gamma[c], in.beta = beta[c];
      in.eps = static_cast<double>(1e-5f);
      in.mean = k.batch ? units[c] * statistics.mean(c) : static_cast<double>(mean[c]);
      in.variance =
          k.batch ? units[c] * units[c] * statistics.variance(c) : static_cast<double>(variance[c]);
      if (k.batch) in.bias = 0;
    }
    const quant_math::Folded want = quant_math::fold(in);
    REQUIRE(constants[c].keep == want.channel.keep);
    REQUIRE(constants[c].bias == want.channel.bias);
    REQUIRE(constants[c].multiplier == want.channel.multiplier);
    REQUIRE(normal[c].ratio == want.ratio);
    REQUIRE(normal[c].step == units[c] / want.sigma);
    const double middle = k.batch        ? statistics.mean(c)
                          : k.normalised ? (static_cast<double>(mean[c]) - bias[c]) / units[c]
                                         : 0.0;
    REQUIRE(centre[c] == static_cast<float>(middle));
    if (!k.batch) continue;
    REQUIRE(machine.get(a.mean, kChannels)[c] == static_cast<float>(in.mean + bias[c]));
    REQUIRE(machine.get(a.variance, kChannels)[c] == static_cast<float>(in.variance));
  }
  machine.clear();
}

// The range of a float output, by the ends of its accumulators.
template <class Machine>
void check_observed_accumulators(Machine& machine) {
  using namespace kernels::cuda;
  constexpr int64_t kChannels = 700;
  std::vector<AccumulatorTotal> totals(kChannels);
  std::vector<quant_math::Channel> constants(kChannels);
  float low = INFINITY, high = -INFINITY;
  for (int64_t c = 0; c < kChannels; ++c) {
    totals[c].low = -1000 - static_cast<int32_t>((c * 37) % 800);
    totals[c].high = 900 + static_cast<int32_t>((c * 53) % 600);
    constants[c] = {c == 5 ? 0 : -1, static_cast<int32_t>(c), 0.01f};
    low = std::min(low, quant_math::epilogue_float(totals[c].low, constants[c], -17.0f, 1e9f));
    high = std::max(high, quant_math::epilogue_float(totals[c].high, constants[c], -17.0f, 1e9f));
  }
  ObserveAccumulatorsArgs args;
  args.channels = kChannels, args.act_low = -17.0f, args.act_high = 1e9f;
  args.totals = machine.put(totals), args.constants = machine.put(constants);
  args.track.low = machine.put(std::vector<float>{-4.0f});
  args.track.high = machine.put(std::vector<float>{5.0f});
  args.track.scale = machine.template room<float>(1);
  args.track.zero_point = machine.template room<int32_t>(1);
  args.track.not_finite = machine.put(std::vector<int32_t>{0});
  machine.run(args);
  low = quant_math::ema(-4.0f, low, 0.99), high = quant_math::ema(5.0f, high, 0.99);
  const quant_math::Grid want = quant_math::choose_grid(low, high, {});
  REQUIRE(machine.get(args.track.low, 1)[0] == low);
  REQUIRE(machine.get(args.track.high, 1)[0] == high);
  REQUIRE(machine.get(args.track.scale, 1)[0] == want.scale);
  REQUIRE(machine.get(args.track.zero_point, 1)[0] == want.zero_point);
  REQUIRE(machine.get(args.track.not_finite, 1)[0] == 0);
  constants[3].multiplier = NAN;  // seen, and the range stays
  args.constants = machine.put(constants);
  machine.run(args);
  REQUIRE(machine.get(args.track.not_finite, 1)[0] == 1);
  REQUIRE(machine.get(args.track.low, 1)[0] == low);
  machine.clear();
}

template <class Machine>
void check_channel_gradients(Machine& machine, bool learned, bool batch) {
  using namespace kernels::cuda;
  constexpr int64_t kChannels = 300;
  const int kinds = learned ? 4 : 2;
  std::vector<quant_math::Normalised> normal;
  std::vector<double> sums;
  double scale = 0, offset = 0;
  for (int64_t c = 0; c < kChannels; ++c) {
    const double v = static_cast<double>(c);
    normal.push_back({0.1 + v, 1.5 - v, static_cast<float>(3 * c)});
    for (int j = 0; j < kinds; ++j) sums.push_back(0.3 * v - 7.0 * j + 0.1);
    if (learned) scale += sums[4 * c + 2], offset += sums[4 * c + 3];
  }
  ChannelGradientsArgs a;
  a.channels = kChannels, a.count = 50, a.batch_statistics = batch;
  a.normal = machine.put(normal), a.sums = machine.put(sums);
  a.slopes = machine.template room<EpilogueSlope>(kChannels);
  a.dgamma = machine.template room<float>(kChannels);
  a.dbias = machine.template room<float>(kChannels);
  a.learned = learned, a.factor = 0.25;
  a.dscale = machine.template room<float>(1);
  a.doffset = machine.template room<float>(1);
  machine.run(a);
  const auto slopes = machine.get(a.slopes, kChannels);
  const auto dgamma = machine.get(a.dgamma, kChannels), dbias = machine.get(a.dbias, kChannels);
  for (int64_t c = 0; c < kChannels; ++c) {
    const quant_math::ChannelGradient want =
        quant_math::channel_gradient(normal[c], sums[kinds * c], sums[kinds * c + 1], batch, 50.0);
    REQUIRE((slopes[c].a == want.a && slopes[c].b == want.b && slopes[c].d == want.d));
    REQUIRE(slopes[c].centre == normal[c].centre);
    REQUIRE(dgamma[c] == static_cast<float>(want.dgamma));
    REQUIRE(dbias[c] == static_cast<float>(want.dbias));
  }
  if (learned) {
    REQUIRE(machine.get(a.dscale, 1)[0] == static_cast<float>(0.25 * scale));
    REQUIRE(machine.get(a.doffset, 1)[0] == static_cast<float>(0.25 * offset));
  }
  machine.clear();
}

template <class Machine>
void check_clamp_learned(Machine& machine) {
  kernels::cuda::ClampLearnedArgs args;
  args.count = 4, args.qmin = 0, args.qmax = 15;
  args.scale = machine.put(std::vector<float>{0.5f, -1.0f, NAN, 0.5f});
  args.offset = machine.put(std::vector<float>{-9.0f, 0.0f, 1.0f, NAN});
  machine.run(args);
  const auto scale = machine.get(args.scale, 4), offset = machine.get(args.offset, 4);
  REQUIRE((scale[0] == 0.5f && scale[1] == quant_math::kScaleFloor && std::isnan(scale[2])));
  REQUIRE((offset[0] == -7.5f && std::isnan(offset[3])));
  machine.clear();
}

template <class Machine>
void check_all_chain_constants(Machine& machine) {
  check_output_grid(machine);
  for (const RowCase& k : {RowCase{0, true, false, false},
                           {3, true, true, false},
                           {3, false, false, false},
                           {0, true, false, true}}) {
    check_weight_rows(machine, k);
  }
  check_many_weights(machine);
  for (const FoldCase& k : {FoldCase{false, false, false},
                            {false, false, true},
                            {true, false, true},
                            {true, true, false},
                            {true, true, true}}) {
    check_fold(machine, k);
  }
  check_observed_accumulators(machine);
  for (const bool learned : {false, true}) {
    check_channel_gradients(machine, learned, true);
    check_channel_gradients(machine, learned, false);
  }
  check_clamp_learned(machine);
}

}  // namespace halftone::test
