#include "train/report.h"

#include <fmt/format.h>

#include "nn/layers.h"
#include "quant/fake_quantize.h"
#include "tensor/atomic_file.h"
#include "train/curves.h"

namespace halftone {
namespace {

const FakeQuantize* weight_quantizer(Module* module) {
  Slot* slot = nullptr;
  if (auto* conv = dynamic_cast<Conv2d*>(module)) slot = &conv->weight_transform();
  if (auto* linear = dynamic_cast<Linear*>(module)) slot = &linear->weight_transform();
  return slot ? dynamic_cast<const FakeQuantize*>(slot->get()) : nullptr;
}

struct Sizes {
  int64_t parameters = 0, fp32_bytes = 0, quantized_bytes = 0;
};

// What has to be stored to run the network. In float: parameters and batch norm's running
// statistics, 4 bytes each. Quantized: weights in their bits; per output channel of a quantized
// layer an int32 bias and a float32 multiplier, into which its batch norm goes; whatever else there
// is in float.
Sizes measure_sizes(Module& model) {
  Sizes s;
  for (auto& [name, module] : model.named_modules()) {
    const FakeQuantize* quantizer = weight_quantizer(module);
    int64_t own = 0, weight = 0, channels = 0;
    if (auto* conv = dynamic_cast<Conv2d*>(module))
      weight = conv->weight.value().numel(), channels = conv->weight.shape()[0];
    if (auto* fc = dynamic_cast<Linear*>(module))
      weight = fc->weight.value().numel(), channels = fc->weight.shape()[0];
    const std::string prefix = name.empty() ? "" : name + ".";
    auto* norm = dynamic_cast<BatchNorm*>(module);
    if (auto* conv = dynamic_cast<Conv2d*>(module))
      own = weight + (conv->bias.defined() ? channels : 0);
    if (auto* fc = dynamic_cast<Linear*>(module))
      own = weight + (fc->bias.defined() ? channels : 0);
    if (norm) own = norm->weight.defined() ? 2 * norm->weight.value().numel() : 0;
    const int64_t statistics = norm ? 2 * norm->running_mean->numel() : 0;
    s.parameters += own;
    s.fp32_bytes += 4 * (own + statistics);
    const bool folded = norm && norm->has_executor();
    if (quantizer)
      s.quantized_bytes += (weight * quantizer->spec().bits + 7) / 8 + 8 * channels;
    else if (!folded)
      s.quantized_bytes += 4 * (own + statistics);
  }
  return s;
}

std::string percent(double accuracy) {
  return accuracy < 0 ? "-" : fmt::format("{:.2f} %", 100 * accuracy);
}
std::string kilobytes(int64_t bytes) {
  return fmt::format("{:.1f} kB", static_cast<double>(bytes) / 1000);
}

}  // namespace

RunReport finish_run(Trainer& trainer, const TrainResult& result, const std::string& out) {
  Network& network = trainer.network();
  const Recipe& recipe = trainer.recipe();
  RunReport r;
  r.dataset = trainer.data().train->name;
  r.model = network.model.name;
  r.quantizer = recipe.quantizer.name;
  r.seconds = result.seconds;
  r.epochs = recipe.epochs;
  r.steps = result.steps;
  r.out = out;
  (network.quantizer ? r.quantized_accuracy : r.float_accuracy) = result.test.accuracy;
  const Sizes sizes = measure_sizes(*network.model.module);
  r.parameters = sizes.parameters;
  r.fp32_bytes = sizes.fp32_bytes;
  r.quantized_bytes = network.quantizer ? sizes.quantized_bytes : 0;
  if (network.quantizer) {
    for (const QuantPoint& p : network.quantizer->points()) p.quantizer->enable(false, false);
    r.float_accuracy =
        evaluate(*network.model.module, trainer.data().test, recipe.test_batch_size, trainer.loss())
            .accuracy;
    for (const QuantPoint& p : network.quantizer->points()) p.quantizer->enable(true, true);
    network.quantizer->export_model(out + "/model_quantized.safetensors",
                                    out + "/calibration.json");
  } else {
    save_safetensors(out + "/model.safetensors", {network.model->state_dict(), {{"format", "pt"}}});
  }
  const double from = network.quantizer ? recipe.quantizer.float_epochs : -1;
  write_file_atomically(
      out + "/curves.svg",
      draw_curves(recipe.name + ": " + r.model + " on " + r.dataset, trainer.rows(), from));
  write_file_atomically(out + "/report.json", to_json(r).dump(2) + "\n");
  return r;
}

nlohmann::ordered_json to_json(const RunReport& r) {
  nlohmann::ordered_json j = {{"dataset", r.dataset}, {"model", r.model}};
  if (!r.quantizer.empty()) j["quantizer"] = r.quantizer;
  j["float_accuracy"] = r.float_accuracy;
  if (!r.quantizer.empty()) j["quantized_accuracy"] = r.quantized_accuracy;
  j["parameters"] = r.parameters;
  j["fp32_bytes"] = r.fp32_bytes;
  if (!r.quantizer.empty()) j["quantized_bytes"] = r.quantized_bytes;
  j["seconds"] = r.seconds;
  j["epochs"] = r.epochs;
  j["steps"] = r.steps;
  j["out"] = r.out;
  return j;
}

std::string to_table(const RunReport& r) {
  const bool quantized = !r.quantizer.empty();
  std::string t = fmt::format("\n{:<14} {:>12} {:>12}\n{:-<40}\n", r.model, "float",
                              quantized ? "quantized" : "", "");
  t += fmt::format("{:<14} {:>12} {:>12}\n", "accuracy", percent(r.float_accuracy),
                   quantized ? percent(r.quantized_accuracy) : "");
  t += fmt::format("{:<14} {:>12} {:>12}\n", "size", kilobytes(r.fp32_bytes),
                   quantized ? kilobytes(r.quantized_bytes) : "");
  t += fmt::format("{:-<40}\n{:<14} {}\n{:<14} {} epochs, {} steps, {:.1f} s\n", "", "data set",
                   r.dataset, "training", r.epochs, r.steps, r.seconds);
  if (quantized)
    t += fmt::format("{:<14} {}; float: the same weights, quantizers off\n", "quantizer",
                     r.quantizer);
  return t + fmt::format("{:<14} {}\n\n", "run folder", r.out);
}

}  // namespace halftone
