// The command line: halftone train | eval | quantize | import | inspect | export | verify | list.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "tools/command_line.h"

int main(int argc, char** argv) {
  using namespace halftone::tools;
  CLI::App app{
      "Trains small quantized networks, and shows what came out.\n\n"
      "  halftone train examples/recipes/quickstart.yaml --out runs/lenet5\n"
      "  halftone eval runs/lenet5\n"
      "  halftone quantize runs/float --config examples/recipes/ptq_lenet5.json\n"
      "  halftone import weights.safetensors --model resnet20 --out runs/imported\n"
      "  halftone inspect runs/lenet5/checkpoint.safetensors\n"
      "  halftone export runs/lenet5\n"
      "  halftone verify runs/lenet5\n"};
  app.require_subcommand(1);
  int code = 0;
  add_train(app, code);
  add_eval(app, code);
  add_quantize(app, code);
  add_import(app, code);
  add_inspect(app, code);
  add_export(app, code);
  add_verify(app, code);
  add_list(app, code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "halftone: %s\n", e.what());
    return 1;
  }
  return code;
}
