// The command line: halftone train | eval | quantize | import | inspect | export | verify | list.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "tensor/nearest.h"
#include "tools/command_line.h"
#include "tools/program.h"

namespace {

// CLI11 only says that a subcommand is required.
void check_command(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return;
  std::vector<std::string> names;
  for (const CLI::App* c : app.get_subcommands(nullptr)) names.push_back(c->get_name());
  if (std::find(names.begin(), names.end(), argv[1]) == names.end())
    halftone::throw_unknown_name("command", argv[1], names);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace halftone::tools;
  wait_briefly(argv);
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
    check_arguments(argc, argv);
    check_command(app, argc, argv);
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return finish("halftone", app, e);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "halftone: %s\n", e.what());
    return 1;
  }
  return finish("halftone", code);
}
