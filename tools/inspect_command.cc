// halftone inspect
#include <cstdio>

#include "tools/command_line.h"
#include "train/inspect.h"

namespace halftone::tools {

void add_inspect(CLI::App& app, int& code) {
  CLI::App* c = app.add_subcommand("inspect", "Tensors, metadata and quantizers of a file or run");
  auto request = std::make_shared<InspectRequest>();
  auto json = std::make_shared<bool>(false);
  c->add_option("file", request->path, "Run folder, checkpoint, or any safetensors file")
      ->required();
  c->add_flag("--clipped", request->clipped,
              "Also what share of a batch of test images' values each quantizer clips");
  c->add_flag("--folds", request->folds,
              "Also the largest difference that folding its batch norm makes to a layer's output");
  c->add_option("--data", request->data, "Folder of the data set, for --clipped and --folds");
  c->add_flag("--json", *json, "One JSON object on standard output");
  c->callback([=, &code] {
    const auto report = inspect_file(*request);
    std::fputs((*json ? report.dump() + "\n" : inspect_table(report)).c_str(), stdout);
    code = 0;
  });
}

}  // namespace halftone::tools
