#include "train/sizes.h"

#include <catch2/catch.hpp>

#include "nn/layers.h"

using namespace halftone;

namespace {

// conv (2 -> 4, 3 x 3, with bias) - batch norm - ReLU: 72 weights.
NetworkSizes sizes(const std::string& config) {
  const Context context;
  auto model = make<Sequential>(context);
  model->append(make<Conv2d>(context, Conv2dArgs{2, 4, 3, 1, 1}));
  model->append(make<BatchNorm>(context, 4, 2));
  model->append(make_relu(context));
  if (config.empty()) return measure_sizes(*model, nullptr);
  const auto quantizer = make_quantizer("QAT_Quantizer", *model, config, nullptr,
                                        Tensor::zeros(context, {1, 5, 5, 2}));
  quantizer->compress();
  return measure_sizes(*model, quantizer.get());
}

std::string entry(const std::string& types, const std::string& more) {
  return R"([{"quant_types": [)" + types + R"(], "quant_bits": 4, "op_types": ["Conv2d"],
    "quant_dtype": {"weight": "int"}, )" +
         more + "}]";
}

}  // namespace

TEST_CASE(
    "a batch norm costs nothing where an integer layer takes it in, and its floats elsewhere") {
  constexpr int kCodes = 36, kNorm = 4 * 4 * 4, kBias = 4 * 4;
  const std::string symmetric = R"("quant_scheme": {"weight": "per_channel_symmetric"})";
  CHECK(sizes("").fp32_bytes == 4 * 72 + kBias + kNorm);
  CHECK(sizes("").quantized_bytes == sizes("").fp32_bytes);
  // An int32 bias and a float32 multiplier per channel.
  CHECK(sizes(entry(R"("weight", "input")", symmetric)).quantized_bytes == kCodes + 8 * 4);
  // Apart: the bias and multiplier of the layer, and the batch norm.
  CHECK(sizes(entry(R"("weight", "input")", symmetric + R"(, "fold": "none")")).quantized_bytes ==
        kCodes + 8 * 4 + kNorm);
  // No integers arrive: codes, a scale per channel, the float bias, the batch norm.
  CHECK(sizes(entry(R"("weight")", symmetric)).quantized_bytes == kCodes + 4 * 4 + kBias + kNorm);
  // A zero point in a byte beside bias and multiplier.
  const std::string affine = R"("quant_scheme": {"weight": "per_tensor_affine"}, "fold": "batch")";
  CHECK(sizes(entry(R"("weight", "input")", affine)).quantized_bytes == kCodes + 9 * 4);
  // No integer form, although the batch norm is folded in training: a scale and a zero point for
  // each of two input channels.
  const std::string rows =
      R"("quant_scheme": {"weight": "per_channel_affine"}, "axis": {"weight": 1}, "fold": "batch")";
  CHECK(sizes(entry(R"("weight", "input")", rows)).quantized_bytes == kCodes + 16 + kBias + kNorm);
}
