// epilogue.h and integer_conv.h on a device. Constants come from the host, and statistics and sums
// go to it: every layer waits for the device.
#include <algorithm>

#include "kernels/device_call.h"
#include "kernels/epilogue.h"
#include "kernels/epilogue_cuda.h"
#include "kernels/integer_bodies.h"
#include "kernels/integer_conv.h"
#include "kernels/matmul.h"
#include "kernels/quantize.h"

namespace halftone::kernels {
namespace {

struct Rows {
  explicit Rows(const Tensor& acc) : channels(acc.dim(-1)), rows(acc.numel() / channels) {}
  int64_t channels, rows;
};

AccumulatorStatistics statistics_body(const Tensor& acc, int64_t) {
  const Rows r(acc);
  DeviceRoom<cuda::AccumulatorTotal> room(acc.context(), r.channels);
  cuda::accumulator_statistics(
      stream_of(acc), {r.rows, r.channels, DevicePointers(acc).in<int32_t>(acc), room.data()});
  AccumulatorStatistics out;
  out.count = r.rows;
  for (const cuda::AccumulatorTotal& t : room.values()) {
    out.sum.push_back(t.sum);
    out.sum_squares.push_back((static_cast<__int128>(t.carries) << 64) + t.squares);
    out.low.push_back(t.low);
    out.high.push_back(t.high);
  }
  return out;
}

void codes_body(const Tensor& acc, const Channels& channels, const CodeRange& range,
                Tensor& codes) {
  const Rows r(acc);
  const DevicePointers p(acc);
  DeviceRoom<quant_math::Channel> constants(acc.context(), channels);
  cuda::epilogue_to_codes(stream_of(acc),
                          {r.rows, r.channels, p.in<int32_t>(acc), constants.data(), range.low,
                           range.high, range.zero_point, p.out<uint8_t>(codes)});
}

void float_body(const Tensor& acc, const Channels& channels, float low, float high, Tensor& y) {
  const Rows r(acc);
  const DevicePointers p(acc);
  DeviceRoom<quant_math::Channel> constants(acc.context(), channels);
  cuda::epilogue_to_float(stream_of(acc), {r.rows, r.channels, p.in<int32_t>(acc), constants.data(),
                                           low, high, p.out(y)});
}

GradientSums sums_body(const Tensor& dy, const Tensor& acc, const Channels& channels,
                       const quant_math::Pass& pass, const std::vector<float>& centre,
                       const LearnedOutput* learned) {
  const Rows r(acc);
  const DevicePointers p(acc);
  DeviceRoom<quant_math::Channel> constants(acc.context(), channels);
  DeviceRoom<float> centres(acc.context(), centre);
  const int64_t kinds = learned != nullptr ? 4 : 2;
  DeviceRoom<double> room(acc.context(), r.channels * kinds);
  cuda::EpilogueSumsArgs args;
  args.rows = r.rows, args.channels = r.channels;
  args.dy = p.in(dy), args.acc = p.in<int32_t>(acc);
  args.constants = constants.data(), args.centre = centres.data(), args.pass = pass;
  args.learned = learned != nullptr, args.sums = room.data();
  if (learned != nullptr) {
    args.act_low = learned->act_low, args.act_high = learned->act_high, args.rule = learned->rule;
  }
  cuda::epilogue_backward_sums(stream_of(acc), args);
  const std::vector<double> sums = room.values();
  GradientSums out;
  for (int64_t c = 0; c < r.channels; ++c) {
    const double* of = &sums[c * kinds];
    out.sum.push_back(of[0]);
    out.sum_centred.push_back(of[1]);
    if (learned == nullptr) continue;
    out.scale += of[2];
    out.offset += of[3];
  }
  return out;
}

void apply_body(const Tensor& dy, const Tensor& acc, const Channels& channels,
                const quant_math::Pass& pass, const GradientCoefficients& k, Tensor& dacc) {
  const Rows r(acc);
  const DevicePointers p(acc);
  std::vector<cuda::EpilogueSlope> slopes;
  for (size_t c = 0; c < k.a.size(); ++c) slopes.push_back({k.a[c], k.b[c], k.d[c], k.centre[c]});
  DeviceRoom<quant_math::Channel> constants(acc.context(), channels);
  DeviceRoom<cuda::EpilogueSlope> table(acc.context(), slopes);
  cuda::epilogue_backward_apply(stream_of(acc),
                                {r.rows, r.channels, p.in(dy), p.in<int32_t>(acc), constants.data(),
                                 table.data(), pass, p.out(dacc)});
}

// ---- sums of products, on whole numbers as floats ----

// Integers that add up to offsets[r] in every element of row r: one int8 does not hold 128.
std::vector<Tensor> offset_weights(const Tensor& w, const RowOffsets& offsets) {
  if (std::all_of(offsets.begin(), offsets.end(), [](int32_t v) { return v == 0; })) return {};
  Tensor half = Tensor::empty(w.context(), w.shape(), DType::kInt8), rest = half.clone();
  for (int64_t r = 0; r < w.dim(0); ++r) {
    const int32_t first = offsets[r] / 2;
    half.slice(r, r + 1).fill(static_cast<float>(first));
    rest.slice(r, r + 1).fill(static_cast<float>(offsets[r] - first));
  }
  return {half, rest};
}

// multiply(w, y): y = x * w in float32.
template <class Multiply>
int64_t accumulate(const char* op, const Codes& x, const Tensor& w, const RowOffsets& offsets,
                   Tensor& acc, AccumulatorStatistics* statistics, Multiply multiply) {
  const DevicePointers p(acc);
  const Context& context = acc.context();
  const Tensor home = w.to(context.host());
  const int64_t bound = checked_bound(x, home, offsets, op);
  Tensor integers = Tensor::empty(context, x.values.shape());
  codes_to_integers(x.values, x.params.zero_point, integers);
  Tensor y = Tensor::empty(context, acc.shape());
  bool adds = false;
  std::vector<Tensor> parts = offset_weights(home, offsets);
  parts.push_back(home);
  for (const Tensor& part : parts) {
    const std::vector<int64_t> bounds = accumulator_bounds(x.params, part);
    const int64_t largest = bounds.empty() ? 0 : *std::max_element(bounds.begin(), bounds.end());
    for (const ExactTerm& term : exact_terms(part, largest, x.params)) {
      multiply(integers, term.w.to(context), y);
      cuda::to_accumulators(stream_of(acc),
                            {acc.numel(), term.factor, adds, p.in(y), p.out<int32_t>(acc)});
      adds = true;
    }
  }
  if (statistics != nullptr) *statistics = accumulator_statistics(acc, bound);
  return bound;
}

int64_t conv_body(const Codes& x, const Tensor& w, const Conv2dOptions& options, Tensor& acc,
                  AccumulatorStatistics* statistics, const RowOffsets& offsets) {
  return accumulate("integer_conv2d", x, w, offsets, acc, statistics,
                    [&](const Tensor& integers, const Tensor& term, Tensor& y) {
                      conv2d(integers, term, nullptr, options, y);
                    });
}

int64_t linear_body(const Codes& x, const Tensor& w, Tensor& acc, AccumulatorStatistics* statistics,
                    const RowOffsets& offsets) {
  return accumulate("integer_linear", x, w, offsets, acc, statistics,
                    [](const Tensor& integers, const Tensor& term, Tensor& y) {
                      linear(integers, term, nullptr, y);
                    });
}

[[maybe_unused]] const bool registered = [] {
  device_body<& accumulator_statistics> = statistics_body;
  device_body<& epilogue_to_codes> = codes_body;
  device_body<& epilogue_to_float> = float_body;
  device_body<& epilogue_backward_sums> = sums_body;
  device_body<& epilogue_backward_apply> = apply_body;
  device_body<& integer_conv2d> = conv_body;
  device_body<& integer_linear> = linear_body;
  return true;
}();

}  // namespace
}  // namespace halftone::kernels
