#include "tools/bench_programs.h"

#include "autograd/ops.h"
#include "nn/optimizer.h"
#include "quant/quantizer.h"
#include "tensor/random.h"

namespace halftone::tools {
namespace {

// Every layer on 8 bits, sums included.
const char* const kEightBits =
    R"([{"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d", "Linear"],
         "quant_dtype": {"weight": "int", "input": "uint"},
         "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"}},
        {"quant_types": ["output"], "quant_bits": 8, "op_types": ["Add"]} MORE])";
// The codes that MobileNetV2's last average sums.
const char* const kAveraged =
    R"(, {"quant_types": ["output"], "quant_bits": 8, "op_names": ["features.18.2"],
          "quant_dtype": "uint", "quant_scheme": "per_tensor_affine"})";

std::string eight_bits(const std::string& more = "") {
  std::string text = kEightBits;
  return text.replace(text.find("MORE"), 4, more);
}

Tensor random_images(const Context& context, const Model& model, uint64_t seed) {
  Tensor x = Tensor::empty(context, model.batch_shape(8));
  const Philox random{seed, 0};
  for (int64_t i = 0; i < x.numel(); ++i)
    x.data<float>()[i] = 0.5f * random.normal(static_cast<uint64_t>(i));
  return x;
}

// A byte b stands for b / 128 - 1.
std::vector<float> normalisation(int64_t channels) {
  std::vector<float> table;
  for (int64_t i = 0; i < 256 * channels; ++i)
    table.push_back(static_cast<float>(i % 256) / 128.0f - 1.0f);
  return table;
}

}  // namespace

const std::vector<BenchProgram>& bench_programs() {
  static const std::vector<BenchProgram> all = {
      {"bnn_vgg", "bnn_vgg", "pool_last", "QAT_Quantizer", eight_bits()},
      {"resnet20", "resnet20", "", "QAT_Quantizer", eight_bits()},
      {"mobilenet_v2", "mobilenet_v2", "", "QAT_Quantizer", eight_bits(kAveraged)},
      {"bnn_vgg_1bit", "bnn_vgg", "pool_last", "BNNQuantizer",
       R"([{"quant_types": ["weight", "input"], "quant_bits": 1, "first_layer_bits": {"input": 8},
            "last_layer_bits": {"weight": 8}, "op_types": ["Conv2d", "Linear"]}])"}};
  return all;
}

CompiledBench compile_bench(const Context& context, const BenchProgram& program) {
  Model model = make_model(program.network, context, ModelOptions{10, program.variant, {}});
  const Tensor dummy = Tensor::zeros(context, model.batch_shape(1));
  const auto quantizer =
      make_quantizer(program.quantizer, *model.module, program.config_list, nullptr, dummy);
  quantizer->compress();
  model->train();
  for (uint64_t i = 0; i < 3; ++i) {
    const NoGrad no_grad;
    (*model.module)(Variable(random_images(context, model, i)));
    quantizer->advance_step();
  }
  model->eval();
  CompiledBench made;
  made.compiled = compile_program(
      *quantizer, {program.name, model.input_shape, normalisation(model.input_shape[0])});
  for (const auto& [name, tensor] : model->state_dict()) made.fp32_bytes += 4 * tensor.numel();
  return made;
}

}  // namespace halftone::tools
