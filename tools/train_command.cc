// halftone train
#include <cstdio>

#include "tools/command_line.h"
#include "train/report.h"
#include "train/resume.h"
#include "train/run_folder.h"

namespace halftone::tools {
namespace {

struct Arguments {
  std::string recipe, out, resume;
  DeviceWords device;
  std::vector<std::string> set;
  bool json = false, quiet = false, other_threads = false, no_graph = false;
};

int stopped(const Trainer& trainer, const TrainResult& result) {
  const std::string folder =
      trainer.checkpoint_path().substr(0, trainer.checkpoint_path().rfind('/'));
  std::fprintf(stderr, "halftone: stopped at step %lld; go on with: halftone train --resume %s\n",
               static_cast<long long>(result.steps), folder.c_str());
  return 128 + result.signal;
}

int run(const Arguments& a) {
  TrainOptions options;
  options.quiet = a.quiet;
  options.device = a.device.choose();
  options.graph = !a.no_graph;
  if (a.no_graph && a.device.device == "cpu") {
    throw HALFTONE_ERROR("--no-graph")
        .expected("--device cuda beside it: the CPU's steps are no graphs")
        .found("--device cpu");
  }
  options.allow_other_threads = a.other_threads;
  if (a.other_threads && a.resume.empty()) {
    throw HALFTONE_ERROR("--allow-other-threads")
        .expected("--resume beside it: a new run has no other threads")
        .found("none");
  }
  const Recipe recipe = prepare_run(a.recipe, a.set, a.out, a.resume, options);
  const ClaimedFolder claimed(a.out.empty() && a.resume.empty() ? options.out : "");
  Trainer trainer(recipe, options);
  const TrainResult result = trainer.run();
  if (!result.finished) return stopped(trainer, result);
  const RunReport report = finish_run(trainer, result, options.out);
  std::fputs(to_table(report).c_str(), a.json ? stderr : stdout);
  if (a.json) std::printf("%s\n", to_json(report).dump().c_str());
  return 0;
}

}  // namespace

void add_train(CLI::App& app, int& code) {
  CLI::App* c = app.add_subcommand("train", "Train what a recipe says");
  auto a = std::make_shared<Arguments>();
  c->add_option("recipe", a->recipe,
                "YAML file; examples/recipes holds some. With --resume it may be left out");
  c->add_option("--set", a->set,
                "Change one value of the recipe: --set optimizer.lr=0.01 (repeatable)")
      ->allow_extra_args(false);
  c->add_option("--out", a->out, "Run folder (default: runs/NAME-1, -2, ...)");
  c->add_option("--resume", a->resume,
                "Go on with the run in this folder: same bits as a run that never stopped");
  add_device(*c, a->device);
  c->add_flag("--no-graph", a->no_graph,
              "On a GPU, launch kernel by kernel instead of steps as CUDA graphs: the same bits");
  c->add_flag("--allow-other-threads", a->other_threads,
              "Resume with another thread count: other rounding");
  c->add_flag("--quiet", a->quiet, "No progress bar");
  c->add_flag("--json", a->json,
              "One JSON object on standard output, everything else on standard error");
  c->footer(
      "The run folder gets recipe.yaml, metrics.jsonl, a TensorBoard event file, "
      "checkpoint.safetensors,\n"
      "curves.svg, report.json and the weights. Ctrl-C writes a checkpoint before it leaves.\n"
      "compute=bf16 and backward=bf16: products of operands rounded to bfloat16.\n"
      "quantizer.integer=false: quantized values as floats instead of sums of codes.\n"
      "quantizer.compat=nni in a recipe or behind --set: NNI's arithmetic, bit for bit, on "
      "floats.");
  c->callback([a, &code] { code = run(*a); });
}

}  // namespace halftone::tools
