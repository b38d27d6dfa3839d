// The kernels of whole networks' steps that bench_kernels_cuda times.
#include "kernels/batch_norm_cuda.h"
#include "kernels/epilogue_cuda.h"
#include "kernels/loss_cuda.h"
#include "kernels/pool_cuda.h"
#include "kernels/weights_cuda.h"
#include "tools/bench_kernels_cuda_ops.h"

namespace halftone {

using namespace kernels::cuda;

namespace {

constexpr int64_t kChannels = 256;

template <class T>
T* at(const cuda::Memory& memory, int64_t index = 0) {
  return static_cast<T*>(memory.data()) + index;
}

NormInputs norm_of(const BenchParameters& p) {
  NormInputs norm;
  norm.mean = norm.bias = at<const float>(p.scale);
  norm.variance = norm.weight = at<const float>(p.ones);
  return norm;
}

void batch_norm_codes(Stream& s, const BenchBuffers& b, const BenchParameters& p) {
  BatchNormQuantizeArgs a;
  a.rows = b.numel / kChannels, a.channels = kChannels;
  a.norm = norm_of(p), a.grids = p.grids(0, 255);
  a.x = b.as<float>(b.a), a.y = b.c.data();
  batch_norm_quantize(s, a);
}

void statistics(Stream& s, const BenchBuffers& b, const BenchParameters& p) {
  BatchNormStatisticsArgs a;
  a.rows = b.numel / kChannels, a.channels = kChannels;
  a.x = b.as<float>(b.a), a.mean = at<float>(p.out), a.variance = at<float>(p.out2);
  batch_norm_statistics(s, a);
}

void epilogue_sums(Stream& s, const BenchBuffers& b, const BenchParameters& p) {
  EpilogueSumsArgs a;
  a.rows = b.numel / kChannels, a.channels = kChannels;
  a.dy = b.as<float>(b.b), a.acc = b.as<int32_t>(b.a);  // integers as floats: any bits will do
  a.constants = at<const quant_math::Channel>(p.constants);
  a.centre = at<const float>(p.scale), a.sums = at<double>(p.out);
  epilogue_backward_sums(s, a);
}

void epilogue_apply(Stream& s, const BenchBuffers& b, const BenchParameters& p) {
  EpilogueApplyArgs a;
  a.rows = b.numel / kChannels, a.channels = kChannels;
  a.dy = b.as<float>(b.b), a.acc = b.as<int32_t>(b.a), a.dacc = b.as<float>(b.c);
  a.constants = at<const quant_math::Channel>(p.constants);
  a.slopes = at<const EpilogueSlope>(p.scale);  // all members 0.05
  epilogue_backward_apply(s, a);
}

// Of 64 layers of 512 output channels, each row on the grid of its own range.
void all_weights(Stream& s, const BenchBuffers& b, const BenchParameters& p) {
  constexpr int64_t kRows = 512;
  std::vector<WeightSegment> segments(kWeightSegments);
  const int64_t length = b.numel / (kRows * kWeightSegments);
  for (int64_t i = 0; i < kWeightSegments; ++i) {
    WeightSegment& w = segments[static_cast<size_t>(i)];
    w.rule = WeightRule::kRange, w.result = WeightResult::kIntegers;
    w.rows = kRows, w.length = length;
    w.w = at<const float>(b.a, i * kRows * length), w.y = at<float>(b.c, i * kRows * length);
    w.scale = at<float>(p.out, i * kRows), w.zero_point = at<int32_t>(p.out2, i * kRows);
  }
  quantize_weights(s, weights_from(segments, 0));
}

PoolGeometry pool_of(int64_t numel) {
  PoolGeometry g;
  g.h = g.w = 32, g.c = 64, g.n = numel / (g.h * g.w * g.c);
  g.oh = g.ow = 16;
  g.options.kernel_h = g.options.kernel_w = g.options.stride_h = g.options.stride_w = 2;
  return g;
}

void pool(Stream& s, const BenchBuffers& b, const BenchParameters&) {
  max_pool2d(s, {pool_of(b.numel), b.as<float>(b.a), b.as<float>(b.c), b.as<uint8_t>(b.d)});
}

void pool_backward(Stream& s, const BenchBuffers& b, const BenchParameters&) {
  max_pool2d_backward(
      s, {pool_of(b.numel), b.as<float>(b.a), nullptr, b.as<uint8_t>(b.d), b.as<float>(b.c)});
}

void softmax_loss(Stream& s, const BenchBuffers& b, const BenchParameters& p) {
  LossArgs a;
  a.classes = 1024, a.rows = b.numel / a.classes;
  a.x = b.as<float>(b.a), a.dx = b.as<float>(b.c);
  a.labels = at<const int64_t>(p.zero_point), a.result = at<LossResult>(p.out);  // label 0
  loss(s, a);
}

}  // namespace

std::vector<Bench> network_benches() {
  const DType floats = DType::kFloat32, integers = DType::kInt32;
  return {{"batch_norm_quantize", floats, "nhwc256", 5, batch_norm_codes},
          {"batch_norm_statistics", floats, "nhwc256", 4, statistics},
          {"epilogue_backward_sums", integers, "nhwc256", 8, epilogue_sums},
          {"epilogue_backward_apply", integers, "nhwc256", 12, epilogue_apply},
          {"quantize_weights", floats, "oihw512", 8, all_weights},
          {"max_pool2d", floats, "nhwc064", 5.25, pool},
          {"max_pool2d_backward", floats, "nhwc064", 5.25, pool_backward},
          {"cross_entropy", floats, "rows", 8, softmax_loss}};
}

}  // namespace halftone
