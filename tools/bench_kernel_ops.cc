#include "tools/bench_kernel_ops.h"

#include <immintrin.h>

#include <cstring>
#include <memory>

#include "kernels/binary.h"
#include "kernels/dorefa.h"
#include "kernels/histogram.h"
#include "kernels/lsq.h"
#include "kernels/moments.h"
#include "kernels/parallel.h"
#include "kernels/quantize.h"
#include "tensor/tensor.h"

namespace halftone::tools {
namespace {

constexpr int64_t kChannels = 64;
constexpr float kStep = 0.03f;  // normal values: a hundredth of them is clipped at 7 bits

struct Buffers {
  Buffers(const Context& context, int64_t pixels)
      : nhwc(Shape{kChannels, pixels, 1, kChannels}),
        x(Tensor::empty(context, nhwc)),
        dy(Tensor::empty(context, nhwc)),
        y(Tensor::zeros(context, nhwc)),
        codes(Tensor::empty(context, nhwc, DType::kUInt8)) {
    const Philox random{1, 0};
    float *xs = x.data<float>(), *up = dy.data<float>();
    parallel_for(context, x.numel(), 4096, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        xs[i] = random.normal(static_cast<uint64_t>(i));
        up[i] = random.uniform(static_cast<uint64_t>(i)) - 0.5f;
      }
    });
  }
  Shape nhwc;
  Tensor x, dy, y, codes;
  std::vector<double> ds, dbeta;
};
using Shared = std::shared_ptr<Buffers>;

kernels::Grids grids_of(const std::string& layout, int32_t zero_point) {
  kernels::Grids grids;
  grids.axis = layout == "nhwc" ? 3 : layout == "ohwi" ? 0 : -1;
  for (int64_t c = 0; c < (grids.axis < 0 ? 1 : kChannels); ++c) {
    grids.list.push_back({kStep + 1e-4f * static_cast<float>(c), zero_point, -64, 63});
  }
  return grids;
}

// body(begin, count) of the floats, split over the threads.
template <class Body>
void split(const Buffers& b, Body body) {
  parallel_for(b.x.context(), b.x.numel() / 16, 1,
               [=](int64_t begin, int64_t end) { body(begin * 16, (end - begin) * 16); });
}

void add_copies(const Shared& b, std::vector<BenchOp>& ops) {
  ops.push_back({"copy", "", "f32", 8, [b] {
                   const float* from = b->x.data<float>();
                   float* to = b->y.data<float>();
                   split(*b, [=](int64_t at, int64_t count) {
                     std::memcpy(to + at, from + at, static_cast<size_t>(count) * 4);
                   });
                 }});
  ops.push_back({"copy past the cache", "", "f32", 8, [b] {
                   const float* from = b->x.data<float>();
                   float* to = b->y.data<float>();
                   split(*b, [=](int64_t at, int64_t count) {
                     for (int64_t i = at; i < at + count; i += 8) {
                       _mm_prefetch(reinterpret_cast<const char*>(from + i + 512), _MM_HINT_T0);
                       _mm256_stream_ps(to + i, _mm256_loadu_ps(from + i));
                     }
                     _mm_sfence();
                   });
                 }});
}

void add_fake_quantize(const Shared& b, const std::string& layout, std::vector<BenchOp>& ops) {
  const auto symmetric = grids_of(layout, 0), shifted = grids_of(layout, -10);
  const auto edge = quant_math::LsqEdge::kInclusive;
  ops.push_back(
      {"fake_quantize", layout, "f32", 8, [=] { kernels::fake_quantize(b->x, symmetric, b->y); }});
  ops.push_back({"fake_quantize_backward", layout, "f32", 12,
                 [=] { kernels::fake_quantize_backward(b->dy, b->x, symmetric, b->y); }});
  ops.push_back({"lsq_backward", layout, "f32", 12,
                 [=] { kernels::lsq_backward(b->dy, b->x, symmetric, edge, &b->y, b->ds); }});
  ops.push_back({"lsq_plus_backward", layout, "f32", 12, [=] {
                   kernels::lsq_plus_backward(b->dy, b->x, shifted, edge, &b->y, b->ds, b->dbeta);
                 }});
  ops.push_back(
      {"observe_ranges", layout, "f32", 4, [=] { kernels::observe_ranges(b->x, symmetric.axis); }});
}

void add_codes(const Shared& b, std::vector<BenchOp>& ops) {
  const quant_math::Grid grid{kStep, 64, 0, 127};
  ops.push_back({"quantize_to_codes", "tensor", "f32 u8", 5, [=] {
                   kernels::quantize_to_codes(b->x, grid, quant_math::Rounding::kOnnx, b->codes);
                 }});
  ops.push_back({"codes_to_integers", "tensor", "u8 f32", 5,
                 [=] { kernels::codes_to_integers(b->codes, 64, b->y); }});
  ops.push_back({"moments", "tensor", "f32", 4, [=] { kernels::moments(b->x); }});
  ops.push_back({"histogram", "tensor", "f32", 4, [=] { kernels::histogram(b->x, -6, 6, 2048); }});
}

void add_binary(const Shared& b, std::vector<BenchOp>& ops) {
  using quant_math::SignGradient;
  ops.push_back({"binarize", "", "f32", 8, [=] { kernels::binarize(b->x, b->y); }});
  ops.push_back({"binarize_stochastic", "", "f32", 8, [=] {
                   kernels::binarize_stochastic(b->x, {1, 2}, b->y);
                 }});
  ops.push_back({"binarize_backward", "", "f32", 12, [=] {
                   kernels::binarize_backward(b->dy, b->x, SignGradient::kStraightThrough, b->y);
                 }});
  ops.push_back({"approx_sign_backward", "", "f32", 12, [=] {
                   kernels::binarize_backward(b->dy, b->x, SignGradient::kApproxSign, b->y);
                 }});
}

void add_dorefa(const Shared& b, std::vector<BenchOp>& ops) {
  const float largest = kernels::dorefa_largest(b->x);
  ops.push_back({"dorefa_weights", "", "f32", 12,
                 [=] { kernels::dorefa_weights(b->x, kernels::dorefa_largest(b->x), 4, b->y); }});
  ops.push_back({"dorefa_weights_backward", "", "f32", 20,
                 [=] { kernels::dorefa_weights_backward(b->dy, b->x, largest, b->y); }});
  ops.push_back(
      {"dorefa_activations", "", "f32", 8, [=] { kernels::dorefa_activations(b->x, 4, b->y); }});
  ops.push_back({"dorefa_activations_backward", "", "f32", 12,
                 [=] { kernels::dorefa_activations_backward(b->dy, b->x, b->y); }});
  ops.push_back({"dorefa_gradients", "", "f32", 12, [=] {
                   kernels::dorefa_gradients(b->dy, 4, {1, 2}, b->y);
                 }});
}

}  // namespace

std::vector<BenchOp> cpu_ops(const Context& context, int64_t pixels) {
  const Shared buffers = std::make_shared<Buffers>(context, pixels);
  std::vector<BenchOp> ops;
  add_copies(buffers, ops);
  for (const char* layout : {"tensor", "nhwc", "ohwi"}) add_fake_quantize(buffers, layout, ops);
  add_codes(buffers, ops);
  add_binary(buffers, ops);
  add_dorefa(buffers, ops);
  return ops;
}

}  // namespace halftone::tools
