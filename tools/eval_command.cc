// halftone eval
#include <cstdio>

#include "tools/command_line.h"
#include "train/evaluate_run.h"

namespace halftone::tools {
namespace {

struct Arguments {
  EvaluateRequest request;
  DeviceWords device;
  bool json = false;
};

int run(Arguments a) {
  a.request.device = a.device.choose();
  const EvaluateReport report = evaluate_run(a.request);
  std::fputs(to_table(report).c_str(), a.json ? stderr : stdout);
  if (a.json) std::printf("%s\n", to_json(report).dump().c_str());
  return 0;
}

}  // namespace

void add_eval(CLI::App& app, int& code) {
  CLI::App* c =
      app.add_subcommand("eval", "Accuracy of a run or a file of weights on its test set");
  auto a = std::make_shared<Arguments>();
  c->add_option("run_or_file", a->request.path,
                "Run folder, checkpoint, or safetensors file of weights")
      ->required();
  c->add_option("--recipe", a->request.recipe,
                "Which model and data; needed for a plain file of weights");
  c->add_option("--set", a->request.overrides, "Change one value of the recipe (repeatable)")
      ->allow_extra_args(false);
  c->add_option("--data", a->request.data, "Folder of the data set, instead of the recipe's");
  add_device(*c, a->device);
  c->add_flag("--train-split", a->request.train_split, "Measure on the training images instead");
  c->add_flag("--json", a->json, "One JSON object on standard output");
  c->callback([a, &code] { code = run(*a); });
}

}  // namespace halftone::tools
