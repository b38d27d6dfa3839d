#include "train/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "tensor/atomic_file.h"
#include "train/curves.h"
#include "train/sizes.h"

namespace halftone {
namespace {

class QuantizersOff {
 public:
  explicit QuantizersOff(const Quantizer& quantizer) : quantizer_(quantizer) {
    for (const QuantPoint& p : quantizer_.points()) {
      before_.emplace_back(p.quantizer->fake_quant_enabled(), p.quantizer->observer_enabled());
      p.quantizer->enable(false, false);
    }
  }
  ~QuantizersOff() {
    for (size_t i = 0; i < before_.size(); ++i)
      quantizer_.points()[i].quantizer->enable(before_[i].first, before_[i].second);
  }
  QuantizersOff(const QuantizersOff&) = delete;
  QuantizersOff& operator=(const QuantizersOff&) = delete;

 private:
  const Quantizer& quantizer_;
  std::vector<std::pair<bool, bool>> before_;  // quantizes, observes
};

// Counted from 1.
int64_t first_quantized_step(const Quantizer& quantizer) {
  int64_t start = std::numeric_limits<int64_t>::max();
  for (const QuantPoint& p : quantizer.points())
    start = std::min(start, p.quantizer->spec().start_step);
  return start;
}

// The epoch, with its fraction, at which the curves become those of a quantized network; -1: never.
double quantized_from(const Trainer& trainer, const Network& network) {
  if (!network.quantizer) return -1;
  if (trainer.calibration_images() > 0) return trainer.recipe().epochs;
  const int64_t before = std::max<int64_t>(first_quantized_step(*network.quantizer), 1) - 1;
  return static_cast<double>(before) / static_cast<double>(trainer.steps_per_epoch());
}

// 0..1; negative before the first test in float. Test accuracies of the float phase: behind step k,
// number k + 1 is the coming one.
double accuracy_of_float_phase(const Quantizer& quantizer, const std::vector<MetricsRow>& rows) {
  const int64_t start = first_quantized_step(quantizer);
  double last = -1;
  for (const MetricsRow& row : rows) {
    if (row.test_accuracy >= 0 && row.step + 1 < start) last = row.test_accuracy;
  }
  return last;
}

// Whether the run ends before anything is quantized.
bool still_in_float(const Quantizer& quantizer) {
  const auto& points = quantizer.points();
  return std::all_of(points.begin(), points.end(),
                     [](const QuantPoint& p) { return p.quantizer->warm_up(); });
}

void measure_float(Trainer& trainer, RunReport& r) {
  Network& network = trainer.network();
  if (!network.quantizer->approximates_float()) {
    r.float_accuracy = accuracy_of_float_phase(*network.quantizer, trainer.rows());
    r.float_is = r.float_accuracy < 0 ? "none: the latent weights are not those of a float network"
                                      : "the last test before quantization started";
    return;
  }
  const QuantizersOff off(*network.quantizer);
  r.float_accuracy = evaluate(*network.model.module, trainer.data().test,
                              trainer.recipe().test_batch_size, trainer.loss())
                         .accuracy;
  r.float_is = "the same weights, quantizers off";
}

nlohmann::ordered_json number_or_null(double accuracy) {
  return accuracy < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(accuracy);
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
  const bool in_float = network.quantizer == nullptr || still_in_float(*network.quantizer);
  (in_float ? r.float_accuracy : r.quantized_accuracy) = result.test.accuracy;
  const NetworkSizes sizes = measure_sizes(*network.model.module, network.quantizer.get());
  r.parameters = sizes.parameters;
  r.fp32_bytes = sizes.fp32_bytes;
  r.quantized_bytes = in_float ? 0 : sizes.quantized_bytes;
  if (network.quantizer) {
    if (in_float) {
      r.float_is = fmt::format("the network as it is: step {} is the first to quantize",
                               first_quantized_step(*network.quantizer));
    } else {
      measure_float(trainer, r);
    }
    r.float_layers = network.quantizer->float_layers();
    network.quantizer->export_model(out + "/model_quantized.safetensors",
                                    out + "/calibration.json");
  } else {
    save_safetensors(out + "/model.safetensors", {network.model->state_dict(), {{"format", "pt"}}});
  }
  r.images = trainer.calibration_images();
  const double from = quantized_from(trainer, network);
  if (!trainer.rows().empty()) {
    write_file_atomically(
        out + "/curves.svg",
        draw_curves(recipe.name + ": " + r.model + " on " + r.dataset, trainer.rows(), from));
  }
  write_file_atomically(out + "/report.json", to_json(r).dump(2) + "\n");
  return r;
}

nlohmann::ordered_json to_json(const RunReport& r) {
  nlohmann::ordered_json j = {{"dataset", r.dataset}, {"model", r.model}};
  if (!r.quantizer.empty()) j["quantizer"] = r.quantizer;
  j["float_accuracy"] = number_or_null(r.float_accuracy);
  if (!r.quantizer.empty()) j["float_is"] = r.float_is;
  if (!r.quantizer.empty()) j["quantized_accuracy"] = number_or_null(r.quantized_accuracy);
  j["parameters"] = r.parameters;
  j["fp32_bytes"] = r.fp32_bytes;
  if (!r.quantizer.empty()) j["quantized_bytes"] = r.quantized_bytes;
  if (!r.quantizer.empty()) j["float_layers"] = r.float_layers;
  if (r.images > 0) j["images"] = r.images;
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
                   !quantized              ? ""
                   : r.quantized_bytes > 0 ? kilobytes(r.quantized_bytes)
                                           : "-");
  t += fmt::format("{:-<40}\n{:<14} {}\n{:<14} {} epochs, {} steps, {:.1f} s\n", "", "data set",
                   r.dataset, "training", r.epochs, r.steps, r.seconds);
  const std::string calibration =
      r.images == 0 ? "" : fmt::format(", calibrated on {} training images", r.images);
  if (quantized) {
    t += fmt::format("{:<14} {}{}; float: {}\n", "quantizer", r.quantizer, calibration, r.float_is);
  }
  for (const auto& [layer, why] : r.float_layers) {
    t += fmt::format("{:<14} {}: float path, not deployable as integers: {}\n", "", layer, why);
  }
  return t + fmt::format("{:<14} {}\n\n", "run folder", r.out);
}

}  // namespace halftone
