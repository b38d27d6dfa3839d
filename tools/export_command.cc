// halftone export
#include <cstdio>

#include "deploy/report.h"
#include "deploy/runtime/program_file.h"
#include "tensor/atomic_file.h"
#include "tools/command_line.h"
#include "tools/program_of_run.h"
#include "train/sizes.h"

namespace halftone::tools {
namespace {

struct Arguments {
  EvaluateRequest request;
  std::string format = "halftone", out;
  bool json = false;
};

int run(const Arguments& a) {
  const RunProgram p = compile_run(a.request, "export");
  const std::string bytes = runtime::to_bytes(p.compiled.program);
  const std::string out = a.out.empty() ? a.request.path + "/model.halftone" : a.out;
  write_file_atomically(out, bytes);
  const ProgramReport report = report_program(
      p.compiled.program, out, static_cast<int64_t>(bytes.size()),
      measure_sizes(*p.run.network.model.module, p.run.network.quantizer.get()).fp32_bytes);
  std::fputs(to_table(report).c_str(), a.json ? stderr : stdout);
  if (a.json) std::printf("%s\n", to_json(report).dump().c_str());
  return 0;
}

}  // namespace

void add_export(CLI::App& app, int& code) {
  CLI::App* c = app.add_subcommand("export", "Write the integer program of a quantized run");
  auto a = std::make_shared<Arguments>();
  c->add_option("run", a->request.path, "Run folder or checkpoint of a quantized network")
      ->required();
  c->add_option("--format", a->format, "halftone: for deploy/runtime")
      ->check(CLI::IsMember({"halftone"}))
      ->capture_default_str();
  c->add_option("--out", a->out, "File (default: RUN/model.halftone)");
  c->add_option(
      "--data", a->request.data,
      "Folder of the data set, instead of the recipe's: its mean and deviation are folded "
      "into the first table");
  c->add_flag("--json", a->json, "One JSON object on standard output");
  c->callback([a, &code] { code = run(*a); });
}

}  // namespace halftone::tools
