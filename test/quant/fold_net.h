// Networks with a batch norm to fold.
#pragma once

#include <catch2/catch.hpp>
#include <cmath>

#include "quant/quantizer.h"
#include "test/quant/lenet_run.h"

namespace halftone::test {

inline const char* const kModes[] = {"scale", "batch", "ema", "nni", "none"};

inline std::string config_of(const std::string& fold, const std::string& more = "") {
  return R"([{"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d", "Linear"],
    "quant_dtype": {"weight": "int", "input": "uint"}, "quant_scheme":
    {"weight": "per_channel_symmetric", "input": "per_tensor_affine"}, "fold": ")" +
         fold + "\"" + more + "}]";
}

// Of the modes that can.
inline std::string freeze_at(const std::string& mode, int step) {
  if (mode == "nni" || mode == "none") return "";
  return ", \"bn_freeze_step\": " + std::to_string(step);
}

// (N, C, H, W) as PyTorch lists it, in NHWC.
inline Tensor image(const Context& c, const Shape& nchw, const std::vector<float>& v) {
  Tensor out = Tensor::empty(c, {nchw[0], nchw[2], nchw[3], nchw[1]});
  for (int64_t i = 0; i < nchw.numel(); ++i) {
    const int64_t w = i % nchw[3], h = i / nchw[3] % nchw[2], k = i / nchw[3] / nchw[2] % nchw[1];
    const int64_t n = i / nchw[3] / nchw[2] / nchw[1];
    out.data<float>()[((n * nchw[2] + h) * nchw[3] + w) * nchw[1] + k] = v[i];
  }
  return out;
}

// Position i of PyTorch's order in an NHWC (or OHWI) tensor.
inline float at(const Tensor& t, int64_t i) {
  const int64_t H = t.dim(1), W = t.dim(2), C = t.dim(3);
  const int64_t w = i % W, h = i / W % H, k = i / W / H % C, n = i / W / H / C;
  return t.data<float>()[((n * H + h) * W + w) * C + k];
}

inline void require_close(const Tensor& t, const std::vector<int64_t>& where,
                          const std::vector<float>& want) {
  for (size_t i = 0; i < want.size(); ++i) {
    CAPTURE(i);
    REQUIRE(at(t, where[i]) == Approx(want[i]).epsilon(2e-5).margin(2e-6));  // float sums
  }
}

inline void require_close(const Tensor& t, const std::vector<float>& want) {
  for (size_t i = 0; i < want.size(); ++i) {
    REQUIRE(t.data<float>()[i] == Approx(want[i]).epsilon(2e-5).margin(2e-6));
  }
}

inline Shape nchw(int64_t n, int64_t c, int64_t h, int64_t w) { return {n, c, h, w}; }

// A convolution whose weight alone is quantized, and its batch norm: what ConvBn2d is.
struct ConvNorm {
  explicit ConvNorm(const std::string& config, int kernel = 3, int in = 2, int out = 3)
      : net(make<Sequential>(c)) {
    conv = make<Conv2d>(c, Conv2dArgs{in, out, kernel, 1, kernel / 2, 1, 1, false});
    norm = make<BatchNorm>(c, out, 2);
    net->append("conv", conv).append("bn", norm);
    q = make_quantizer("QAT_Quantizer", *net, config, nullptr, Tensor::zeros(c, {1, 4, 4, in}));
    q->compress();
  }
  Context c{two_threads()};
  std::shared_ptr<Sequential> net;
  std::shared_ptr<Conv2d> conv;
  std::shared_ptr<BatchNorm> norm;
  std::unique_ptr<Quantizer> q;
};

inline const char* const kWeightOnly = R"([{"quant_types": ["weight"], "quant_bits": 8,
  "op_types": ["Conv2d"], "quant_dtype": "int", "quant_scheme": "per_channel_symmetric",
  "fold": "batch", "bn_freeze_step": 3}])";

// LeNet-5 (with batch norm) in some mode.
using Run = QatRun;

}  // namespace halftone::test
