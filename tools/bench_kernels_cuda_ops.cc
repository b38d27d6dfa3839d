#include "tools/bench_kernels_cuda_ops.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>

#include "kernels/binary_cuda.h"
#include "kernels/dorefa_cuda.h"
#include "kernels/epilogue_cuda.h"
#include "kernels/observe_cuda.h"
#include "kernels/optimizer_cuda.h"

namespace halftone {

using namespace kernels::cuda;

namespace {

using Run = decltype(Bench::run);

// "tensor", "nhwc256" (channels innermost), "oihw512" (outermost).
ChannelLayout layout_of(const std::string& name, int64_t n) {
  if (name == "tensor") return {1, 1, n};
  const int64_t channels = std::stoll(name.substr(4));
  if (name[0] == 'n') return {n / channels, channels, 1};
  return {1, channels, n / channels};
}

void add_quantize(std::vector<Bench>& list, const std::string& layout, DType dtype) {
  const double size = static_cast<double>(size_of(dtype));
  list.push_back({"fake_quantize", dtype, layout, 2 * size,
                  [=](Stream& s, const BenchBuffers& b, const BenchParameters& p) {
                    FakeQuantizeArgs a;
                    a.layout = layout_of(layout, b.numel), a.dtype = dtype;
                    a.grids = p.grids(0, 255), a.x = b.a.data(), a.y = b.c.data();
                    fake_quantize(s, a);
                  }});
  list.push_back({"fake_quantize_backward", dtype, layout, 3 * size,
                  [=](Stream& s, const BenchBuffers& b, const BenchParameters& p) {
                    FakeQuantizeBackwardArgs a;
                    a.layout = layout_of(layout, b.numel), a.dtype = dtype;
                    a.grids = p.grids(0, 255);
                    a.dy = b.b.data(), a.x = b.a.data(), a.dx = b.c.data();
                    fake_quantize_backward(s, a);
                  }});
  list.push_back({"lsq_forward", dtype, layout, 2 * size,
                  [=](Stream& s, const BenchBuffers& b, const BenchParameters& p) {
                    FakeQuantizeArgs a;
                    a.layout = layout_of(layout, b.numel), a.dtype = dtype;
                    a.grids = p.grids(-8, 7), a.x = b.a.data(), a.y = b.c.data();
                    fake_quantize(s, a);
                  }});
  list.push_back({"lsq_backward", dtype, layout, 3 * size,
                  [=](Stream& s, const BenchBuffers& b, const BenchParameters& p) {
                    LsqBackwardArgs a;
                    a.layout = layout_of(layout, b.numel), a.dtype = dtype;
                    a.grids = p.grids(-8, 7), a.gradient_scale = 0.1;
                    a.dy = b.b.data(), a.x = b.a.data(), a.dx = b.c.data();
                    a.dscale = static_cast<float*>(p.out.data());
                    lsq_backward(s, a);
                  }});
  list.push_back({"lsq_plus_backward", dtype, layout, 3 * size,
                  [=](Stream& s, const BenchBuffers& b, const BenchParameters& p) {
                    LsqBackwardArgs a;
                    a.layout = layout_of(layout, b.numel), a.dtype = dtype;
                    a.grids = p.grids(0, 15), a.gradient_scale = 0.1;
                    a.grids.zero_point = nullptr;
                    a.grids.offset = static_cast<const float*>(p.offset.data());
                    a.dy = b.b.data(), a.x = b.a.data(), a.dx = b.c.data();
                    a.dscale = static_cast<float*>(p.out.data());
                    a.doffset = static_cast<float*>(p.out2.data());
                    lsq_backward(s, a);
                  }});
  for (const DType code : {DType::kUInt8, DType::kInt8}) {
    list.push_back({"quantize_" + name_of(code), dtype, layout, size + 1,
                    [=](Stream& s, const BenchBuffers& b, const BenchParameters& p) {
                      QuantizeArgs a;
                      a.layout = layout_of(layout, b.numel), a.dtype = dtype, a.code_dtype = code;
                      a.grids = code == DType::kUInt8 ? p.grids(0, 255) : p.grids(-127, 127);
                      a.x = b.a.data(), a.codes = b.c.data();
                      quantize(s, a);
                    }});
  }
  list.push_back({"observe_ema", dtype, layout, size,
                  [=](Stream& s, const BenchBuffers& b, const BenchParameters& p) {
                    ObserveArgs a;
                    a.layout = layout_of(layout, b.numel), a.dtype = dtype, a.x = b.a.data();
                    a.low = static_cast<float*>(p.low.data());
                    a.high = static_cast<float*>(p.high.data());
                    a.scale = static_cast<float*>(p.out.data());
                    a.zero_point = static_cast<int32_t*>(p.out2.data());
                    observe(s, a);
                  }});
}

void add_maps(std::vector<Bench>& list, DType dtype) {
  const double size = static_cast<double>(size_of(dtype));
  const auto add = [&](const char* op, double bytes, const Run& run) {
    list.push_back({op, dtype, "tensor", bytes, run});
  };
  const auto sign_of = [=](bool stochastic) {
    return [=](Stream& s, const BenchBuffers& b, const BenchParameters&) {
      SignArgs a;
      a.numel = b.numel, a.dtype = dtype, a.x = b.a.data(), a.y = b.c.data();
      a.stochastic = stochastic;
      sign(s, a);
    };
  };
  add("sign", 2 * size, sign_of(false));
  add("sign_stochastic", 2 * size, sign_of(true));
  add("sign_backward", 3 * size, [=](Stream& s, const BenchBuffers& b, const BenchParameters&) {
    SignBackwardArgs a;
    a.numel = b.numel, a.dtype = dtype;
    a.dy = b.b.data(), a.x = b.a.data(), a.dx = b.c.data();
    sign_backward(s, a);
  });
  add("dorefa_activations", 2 * size,
      [=](Stream& s, const BenchBuffers& b, const BenchParameters&) {
        DorefaActivationsArgs a;
        a.numel = b.numel, a.dtype = dtype, a.bits = 4, a.x = b.a.data(), a.y = b.c.data();
        dorefa_activations(s, a);
      });
  // Read once for the ranges, once more for the values.
  add("dorefa_gradients", 3 * size,
      [=](Stream& s, const BenchBuffers& b, const BenchParameters& p) {
        DorefaGradientsArgs a;
        a.samples = 64, a.length = b.numel / 64, a.dtype = dtype, a.bits = 6;
        a.x = b.a.data(), a.y = b.c.data(), a.largest = static_cast<float*>(p.out.data());
        dorefa_gradients(s, a);
      });
  add("dorefa_weights", 3 * size, [=](Stream& s, const BenchBuffers& b, const BenchParameters& p) {
    DorefaWeightsArgs a;
    a.numel = b.numel, a.dtype = dtype, a.bits = 4;
    a.w = b.a.data(), a.y = b.c.data(), a.largest = static_cast<float*>(p.out.data());
    dorefa_weights(s, a);
  });
}

void add_training(std::vector<Bench>& list) {
  list.push_back({"epilogue_to_codes", DType::kInt32, "nhwc256", 5,
                  [](Stream& s, const BenchBuffers& b, const BenchParameters& p) {
                    EpilogueArgs a;
                    a.rows = b.numel / 256, a.channels = 256;
                    a.acc = b.as<int32_t>(b.a), a.codes = b.as<uint8_t>(b.c);
                    a.constants = static_cast<const quant_math::Channel*>(p.constants.data());
                    epilogue_to_codes(s, a);
                  }});
  list.push_back({"histogram_2048", DType::kFloat32, "tensor", 4,
                  [](Stream& s, const BenchBuffers& b, const BenchParameters& p) {
                    HistogramArgs a;
                    a.numel = b.numel, a.x = b.a.data();
                    a.low = static_cast<const float*>(p.low.data());
                    a.high = static_cast<const float*>(p.high.data());
                    a.counts = static_cast<uint64_t*>(p.out.data());
                    add_histogram(s, a);
                  }});
  list.push_back({"sgd_momentum", DType::kFloat32, "tensor", 20,
                  [](Stream& s, const BenchBuffers& b, const BenchParameters&) {
                    SgdArgs a;
                    a.numel = b.numel, a.options.momentum = 0.9;
                    a.grad = b.as<float>(b.a), a.p = b.as<float>(b.c);
                    a.momentum_buffer = b.as<float>(b.d);
                    kernels::cuda::sgd_step(s, a);
                  }});
  list.push_back({"adam", DType::kFloat32, "tensor", 28,
                  [](Stream& s, const BenchBuffers& b, const BenchParameters&) {
                    AdamArgs a;
                    a.numel = b.numel, a.options.step = 10;
                    a.grad = b.as<float>(b.a), a.p = b.as<float>(b.c);
                    a.exp_avg = b.as<float>(b.d), a.exp_avg_sq = b.as<float>(b.e);
                    kernels::cuda::adam_step(s, a);
                  }});
}

}  // namespace

std::vector<Bench> kernel_benches() {
  std::vector<Bench> list;
  list.push_back({"copy", DType::kFloat32, "tensor", 8,
                  [](Stream& s, const BenchBuffers& b, const BenchParameters&) {
                    HALFTONE_CUDA(cudaMemcpyAsync(b.c.data(), b.a.data(), b.numel * 4,
                                                  cudaMemcpyDeviceToDevice, s.get()));
                  }});
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (const char* layout : {"tensor", "nhwc256", "nhwc010", "oihw512"}) {
      add_quantize(list, layout, dtype);
    }
    add_maps(list, dtype);
  }
  add_training(list);
  for (Bench& bench : network_benches()) list.push_back(std::move(bench));
  return list;
}

BenchParameters::BenchParameters(Stream& s) {
  const int64_t n = 1 << 20;
  scale = upload(s, std::vector<float>(n, 0.05f));
  ones = upload(s, std::vector<float>(n, 1.0f));
  zero_point = upload(s, std::vector<int32_t>(n, 0));
  offset = upload(s, std::vector<float>(n, -0.4f));
  low = upload(s, std::vector<float>(n, -4.0f));
  high = upload(s, std::vector<float>(n, 4.0f));
  constants = upload(s, std::vector<quant_math::Channel>(n, {-1, 3, 0.01f}));
  out = cuda::Memory(n * 8);
  out2 = cuda::Memory(n * 8);
}

void BenchBuffers::fill(Stream& s, DType dtype) const {
  std::mt19937 rng(1);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<uint32_t> words((1 << 18) + 7);  // odd: a and b differ from place to place
  for (uint32_t& w : words) {
    const float x = normal(rng), y = normal(rng);
    const int32_t integer = static_cast<int32_t>(1000.0f * x);
    std::memcpy(&w, &x, sizeof w);
    if (dtype == DType::kInt32) std::memcpy(&w, &integer, sizeof w);
    if (dtype == DType::kBFloat16) w = BFloat16(x).bits | uint32_t{BFloat16(y).bits} << 16;
  }
  const cuda::Memory pattern = upload(s, words);
  const size_t step = words.size() * 4;
  for (const cuda::Memory* m : {&a, &b}) {
    for (size_t at = 0; at < m->bytes(); at += step) {
      HALFTONE_CUDA(cudaMemcpyAsync(static_cast<char*>(m->data()) + at, pattern.data(),
                                    std::min(step, m->bytes() - at), cudaMemcpyDeviceToDevice,
                                    s.get()));
    }
  }
  for (const cuda::Memory* m : {&c, &d, &e}) {
    HALFTONE_CUDA(cudaMemsetAsync(m->data(), 0, m->bytes(), s.get()));
  }
  s.synchronize();
}

}  // namespace halftone
