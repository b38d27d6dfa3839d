// halftone quantize
#include <cstdio>
#include <limits>

#include "tools/command_line.h"
#include "train/quantize_run.h"

namespace halftone::tools {
namespace {

struct Arguments {
  QuantizeRequest request;
  DeviceWords device;
  bool json = false;
};

int run(Arguments a) {
  a.request.device = a.device.choose();
  const QuantizeReport report = quantize_run(a.request);
  std::fputs(to_table(report).c_str(), a.json ? stderr : stdout);
  if (a.json) std::printf("%s\n", to_json(report).dump().c_str());
  return 0;
}

}  // namespace

void add_quantize(CLI::App& app, int& code) {
  CLI::App* c =
      app.add_subcommand("quantize", "Quantize a trained network without training (post-training)");
  auto a = std::make_shared<Arguments>();
  c->add_option("run_or_file", a->request.path,
                "Float run folder, checkpoint, or safetensors file with PyTorch's names")
      ->required();
  c->add_option("--config", a->request.config,
                "config_list as JSON or YAML, or a recipe with a quantizer section")
      ->required();
  c->add_option(
      "--calibrate", a->request.calibrate,
      "Data whose training images calibrate: a data set's name or the folder of its files "
      "(default: the run's own)");
  c->add_option("--images", a->request.images,
                "How many of them (default: quantizer.calibration_images of the config, or 100)")
      ->check(CLI::Range(1, std::numeric_limits<int>::max()));
  c->add_option("--model", a->request.model, "The network of a plain file (halftone list models)");
  c->add_option("--data", a->request.data, "Folder of the data set, instead of the recipe's");
  c->add_option("--set", a->request.overrides, "Change one value of the recipe (repeatable)")
      ->allow_extra_args(false);
  c->add_option("--out", a->request.out, "Run folder (default: runs/NAME-quantized-1, -2, ...)");
  add_device(*c, a->device);
  c->add_flag("--quiet", a->request.quiet, "No progress bar");
  c->add_flag("--json", a->json,
              "One JSON object on standard output, everything else on standard error");
  c->footer(
      "The run folder gets checkpoint.safetensors (for eval and inspect), recipe.yaml, report.json "
      "and the export:\nmodel_quantized.safetensors and calibration.json. It appears whole or not "
      "at "
      "all.\ncompat: nni beside name in the configuration: NNI's arithmetic, bit for bit, on "
      "floats.");
  c->callback([a, &code] { code = run(*a); });
}

}  // namespace halftone::tools
