// halftone import
#include <cstdio>

#include "tools/command_line.h"
#include "train/import_run.h"

namespace halftone::tools {
namespace {

struct Arguments {
  ImportRequest request;
  bool json = false;
};

int run(const Arguments& a) {
  const ImportReport report = import_run(a.request);
  std::fputs(to_table(report).c_str(), a.json ? stderr : stdout);
  if (a.json) std::printf("%s\n", to_json(report).dump().c_str());
  return 0;
}

}  // namespace

void add_import(CLI::App& app, int& code) {
  CLI::App* c = app.add_subcommand("import", "Make a run of weights that PyTorch trained");
  auto a = std::make_shared<Arguments>();
  c->add_option("file", a->request.path, "Safetensors file with PyTorch's names and layouts")
      ->required();
  c->add_option("--model", a->request.model, "The network that they are of (halftone list models)")
      ->required();
  c->add_option("--set", a->request.overrides,
                "One value of the run's recipe: --set data.name=cifar10, --set "
                "model.num_classes=100 (repeatable)")
      ->allow_extra_args(false);
  c->add_option("--out", a->request.out, "Run folder (default: runs/FILE-imported-1, -2, ...)");
  c->add_flag("--json", a->json, "One JSON object on standard output");
  c->footer(
      "The run is in float: eval measures it, quantize quantizes it, and train starts from it "
      "with\n"
      "--set model.weights=RUN. Every tensor of the network must be in the file, and nothing "
      "else.\n"
      "In PyTorch: safetensors.torch.save_file(model.state_dict(), \"weights.safetensors\").");
  c->callback([a, &code] { code = run(*a); });
}

}  // namespace halftone::tools
