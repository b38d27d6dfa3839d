// halftone inspect
#include <cstdio>

#include "tools/command_line.h"
#include "train/inspect.h"

namespace halftone::tools {

void add_inspect(CLI::App& app, int& code) {
  CLI::App* c = app.add_subcommand("inspect", "Tensors, metadata and quantizers of a file or run");
  auto path = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  c->add_option("file", *path, "Run folder, checkpoint, or any safetensors file")->required();
  c->add_flag("--json", *json, "One JSON object on standard output");
  c->callback([=, &code] {
    const auto report = inspect_file(*path);
    std::fputs((*json ? report.dump() + "\n" : inspect_table(report)).c_str(), stdout);
    code = 0;
  });
}

}  // namespace halftone::tools
