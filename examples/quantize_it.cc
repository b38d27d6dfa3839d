// 3. Quantize it: the network of example 2 with 8-bit weights and activations, trained on the
// integers it deploys.
#include <cstdio>
#include <memory>

#include "halftone.h"

int main() {
  using namespace halftone;
  ContextOptions options;
  options.seed = 1;
  const Context context(options);
  DatasetOptions some;
  some.limit = 10000;
  auto train = std::make_shared<const Dataset>(
      load_dataset(context, "generated-digits", Split::kTrain, some));
  some.limit = 2000;
  auto test = std::make_shared<const Dataset>(
      load_dataset(context, "generated-digits", Split::kTest, some));
  Loader loader(context, train, {});
  Model model = make_model("lenet5", context);

  // NNI's configuration: which tensors of which layers, in how many bits. The first epoch trains in
  // float (quant_start_step); from then on every layer computes on integer codes, batch norm folded
  // into the scales.
  const std::string config_list = R"([{
    "quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d", "Linear"],
    "quant_dtype": {"weight": "int", "input": "uint"},
    "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"},
    "quant_start_step": 158 }])";
  const Tensor dummy_input = Tensor::zeros(context, model.batch_shape(1));
  ParameterStore store(*model.module);
  auto adam = make_optimizer(store, {});
  auto quantizer =
      make_quantizer("QAT_Quantizer", *model.module, config_list, adam.get(), dummy_input);
  quantizer->compress();
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
      const Batch batch = loader.next();
      adam->zero_grad();
      cross_entropy((*model.module)(Variable(batch.images)), batch.labels).backward();
      adam->step();
    }
    const Evaluation e = evaluate(*model.module, test, 500, make_loss("cross_entropy"));
    std::printf("epoch %d, trained %s: test accuracy on codes %.2f %%\n",
                static_cast<int>(epoch + 1), epoch == 0 ? "in float" : "on codes",
                100 * e.accuracy);
  }
  // Integer codes, scales, zero points and the float master weights; NNI's calibration keys.
  quantizer->export_model("/tmp/halftone_lenet5_int8.safetensors",
                          "/tmp/halftone_lenet5_calibration.json");
}
