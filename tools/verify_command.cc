// halftone verify
#include <cstdio>

#include "deploy/runtime/program_file.h"
#include "deploy/verify.h"
#include "tools/command_line.h"
#include "tools/program_of_run.h"
#include "train/progress.h"

namespace halftone::tools {
namespace {

struct Arguments {
  EvaluateRequest request;
  std::string program;  // a file, "": compiled now
  int64_t images = 0;
  bool json = false, quiet = false;
};

// What is verified has been through a file's bytes.
std::shared_ptr<const runtime::Program> program_to_check(const Arguments& a,
                                                         const CompiledProgram& compiled) {
  if (!a.program.empty())
    return std::make_shared<const runtime::Program>(runtime::load_program(a.program));
  const std::string bytes = runtime::to_bytes(compiled.program);
  return std::make_shared<const runtime::Program>(
      runtime::program_from_bytes(bytes.data(), bytes.size(), a.request.path));
}

// The tensors of the file must be those of the run.
void check_same_tensors(const runtime::Program& file, const runtime::Program& run,
                        const std::string& path) {
  bool same = file.values.size() == run.values.size();
  for (size_t v = 0; same && v < run.values.size(); ++v) {
    same = file.values[v].name == run.values[v].name &&
           file.values[v].shape.size() == run.values[v].shape.size() &&
           file.values[v].is_float == run.values[v].is_float;
  }
  if (same) return;
  throw HALFTONE_ERROR("verify")
      .at(path)
      .expected("the program of this run's network")
      .found("a program with other layers");
}

std::vector<PartyPtr> all_parties(const RunProgram& p,
                                  const std::shared_ptr<const runtime::Program>& program) {
  Module& model = *p.run.network.model.module;
  const Context& context = model.context();
  std::vector<PartyPtr> parties;
  parties.push_back(training_party(model, p.compiled, p.source));
  for (const integer::Body& body : integer::bodies())
    parties.push_back(engine_party(context, program, body));
  parties.push_back(oracle_party(context, program));
  return parties;
}

int run(const Arguments& a) {
  const RunProgram p = compile_run(a.request, "verify");
  const auto program = program_to_check(a, p.compiled);
  check_same_tensors(*program, p.compiled.program, a.program);
  Progress progress(!a.quiet);
  const VerifyReport report =
      verify(*program, all_parties(p, program), *p.run.data, a.images, 100,
             [&](int64_t done, int64_t total) { progress.count("verify", done, total); });
  progress.finish();
  std::fputs(to_table(report).c_str(), a.json ? stderr : stdout);
  if (a.json) std::printf("%s\n", to_json(report).dump().c_str());
  return report.passes() ? 0 : 1;
}

}  // namespace

void add_verify(CLI::App& app, int& code) {
  CLI::App* c = app.add_subcommand(
      "verify", "Compare every code of the integer program with the training code's evaluation");
  auto a = std::make_shared<Arguments>();
  c->add_option("run", a->request.path, "Run folder or checkpoint of a quantized network")
      ->required();
  c->add_option("--program", a->program, "A file of halftone export, instead of the run's own now");
  c->add_option("--data", a->request.data, "Folder of the data set, instead of the recipe's");
  c->add_option("--images", a->images, "The first so many test images (default: all)")
      ->check(CLI::PositiveNumber);
  c->add_option("--set", a->request.overrides, "threads=N, data.* (repeatable)")
      ->allow_extra_args(false);
  c->add_flag("--quiet", a->quiet, "No progress bar");
  c->add_flag("--json", a->json, "One JSON object on standard output");
  c->footer("Exit status 1 when anything differs, or when a tensor holds one single code.");
  c->callback([a, &code] { code = run(*a); });
}

}  // namespace halftone::tools
