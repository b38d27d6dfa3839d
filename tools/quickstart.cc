// A first quantized network in one command; tools/quickstart (the script) builds this, finds the
// data, and runs it.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "tools/command_line.h"
#include "tools/program.h"
#include "train/report.h"
#include "train/resume.h"
#include "train/run_folder.h"

namespace {

using namespace halftone;

struct Arguments {
  std::string recipe = "examples/recipes/quickstart.yaml", data, out;
  std::vector<std::string> set;
  tools::DeviceWords device;
  bool quiet = false;
};

// A YAML string: ' is written twice.
std::string quoted(const std::string& s) {
  std::string text = "'";
  for (char c : s) text += c == '\'' ? "''" : std::string(1, c);
  return text + "'";
}

std::vector<std::string> overrides(const Arguments& a) {
  std::vector<std::string> set;
  if (a.data.empty()) {
    std::fprintf(stderr,
                 "quickstart: no MNIST at hand: training on generated digits (an embedded set, as "
                 "hard as MNIST)\n");
    set = {"data.name=generated-digits"};
  } else {
    set = {"data.name=mnist", "data.dir=" + quoted(a.data)};
  }
  set.insert(set.end(), a.set.begin(), a.set.end());
  return set;
}

int run(const Arguments& a) {
  TrainOptions options;
  options.quiet = a.quiet;
  options.device = a.device.choose();
  const Recipe recipe = prepare_run(a.recipe, overrides(a), a.out, "", options);
  const ClaimedFolder claimed(a.out.empty() ? options.out : "");
  Trainer trainer(recipe, options);
  const TrainResult result = trainer.run();
  if (!result.finished) {
    std::fprintf(stderr, "quickstart: stopped; the checkpoint is in %s\n", options.out.c_str());
    return 128 + result.signal;
  }
  const RunReport report = finish_run(trainer, result, options.out);
  std::fputs(to_table(report).c_str(), stdout);
  std::printf("%s\n", to_json(report).dump().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  tools::wait_briefly(argv);
  Arguments a;
  CLI::App app{
      "Trains LeNet-5 with 8-bit quantization-aware training on handwritten digits, in under a "
      "minute on two cores.\n"
      "Ends with a table and, as its last line, one JSON object with the same numbers."};
  app.add_option(
      "--data", a.data,
      "Folder with the four MNIST files; without it, digits drawn by the program are used");
  app.add_option("--out", a.out, "Run folder (default: runs/quickstart-1, -2, ...)");
  app.add_option("--recipe", a.recipe, "The recipe to run")->capture_default_str();
  app.add_option("--set", a.set, "Change one value of the recipe: --set epochs=2 (repeatable)")
      ->allow_extra_args(false);
  tools::add_device(app, a.device);
  app.add_flag("--quiet", a.quiet, "No progress bar");
  try {
    tools::check_arguments(argc, argv);
    app.parse(argc, argv);
    return tools::finish("quickstart", run(a));
  } catch (const CLI::ParseError& e) {
    return tools::finish("quickstart", app, e);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "quickstart: %s\n", e.what());
    return 1;
  }
}
