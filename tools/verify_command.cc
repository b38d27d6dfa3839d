// halftone verify
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "data/file_bytes.h"
#include "deploy/export_onnx.h"
#include "deploy/onnx_party.h"
#include "deploy/runtime/program_file.h"
#include "deploy/verify.h"
#include "tools/command_line.h"
#include "tools/program_of_run.h"
#include "train/progress.h"

namespace halftone::tools {
namespace {

struct Arguments {
  EvaluateRequest request;
  std::string program;       // a file, "": compiled now
  std::string onnx, python;  // a file, "": exported now; "": of the environment
  DeviceWords device;
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

std::string bytes_of(const std::string& path) {
  const std::vector<uint8_t> bytes = read_file_bytes(path);
  return {bytes.begin(), bytes.end()};
}

std::string python_of(const Arguments& a) {
  const char* chosen = std::getenv("HALFTONE_PYTHON");
  return !a.python.empty() ? a.python : chosen != nullptr ? chosen : "python3";
}

// ONNX Runtime on the file as it is, and on a copy that shows every tensor: other outputs, so it
// may be optimized otherwise.
void add_onnx_runtime(const Arguments& a, const Context& context,
                      const std::shared_ptr<const runtime::Program>& program,
                      std::vector<PartyPtr>& parties) {
  const std::string model = a.onnx.empty() ? to_onnx(*program) : bytes_of(a.onnx);
  const std::string where = a.onnx.empty() ? a.request.path : a.onnx;
  const std::string copy = with_outputs(model, onnx_code_tensors(*program), where);
  const std::string python = python_of(a);
  PartyPtr plain = onnx_party(program, {python, model, {}, context.threads()});
  parties.push_back(onnx_party(program, {python, copy, onnx_tensors(*program), context.threads()}));
  parties.push_back(std::move(plain));
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

// The same run on a device, beside the CPU; nothing on the CPU.
std::optional<LoadedRun> run_on_device(const Arguments& a) {
  EvaluateRequest request = a.request;
  request.op = "verify";
  request.device = a.device.choose();
  if (request.device.device.type == DeviceType::kCpu) return std::nullopt;
  return load_run(request);
}

int run(const Arguments& a) {
  const std::optional<LoadedRun> there = run_on_device(a);
  const RunProgram p = compile_run(a.request, "verify");
  const auto program = program_to_check(a, p.compiled);
  check_same_tensors(*program, p.compiled.program, a.program);
  std::vector<PartyPtr> parties = all_parties(p, program);
  std::string no_device;
  if (there.has_value()) {
    for (const auto& [layer, why] : there->network.quantizer->float_layers())
      no_device = layer + " computes on floats there: " + why;
  }
  if (there.has_value() && no_device.empty())
    parties.push_back(training_party(*there->network.model.module, p.compiled, p.source));
  std::string not_run;
  try {
    add_onnx_runtime(a, p.run.network.model.module->context(), program, parties);
  } catch (const Error& e) {
    if (!a.onnx.empty() || !a.python.empty()) throw;
    not_run = e.what();
  }
  Progress progress(!a.quiet);
  VerifyReport report =
      verify(*program, parties, *p.run.data, a.images, 100,
             [&](int64_t done, int64_t total) { progress.count("verify", done, total); });
  progress.finish();
  if (!not_run.empty()) report.not_run["ONNX Runtime"] = not_run;
  if (!no_device.empty()) report.not_run["training's evaluation on the device"] = no_device;
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
  c->add_option("--onnx", a->onnx,
                "A file of halftone export --format onnx, instead of the run's own now");
  c->add_option("--python", a->python,
                "A Python that has onnxruntime (default: $HALFTONE_PYTHON, or python3)");
  c->add_option("--data", a->request.data, "Folder of the data set, instead of the recipe's");
  add_device(*c, a->device);
  c->add_option("--images", a->images, "The first so many test images (default: all)")
      ->check(CLI::PositiveNumber);
  c->add_option("--set", a->request.overrides, "threads=N, data.* (repeatable)")
      ->allow_extra_args(false);
  c->add_flag("--quiet", a->quiet, "No progress bar");
  c->add_flag("--json", a->json, "One JSON object on standard output");
  c->footer(
      "The parties: the training code's evaluation (with --device cuda, on the GPU too), the "
      "program with every\nbody of the engine, an independent oracle, and ONNX Runtime on the "
      "exported file. Where Python has no\nonnxruntime, a line says that it was not run; with "
      "--onnx or --python that is an error.\n"
      "Exit status 1 when anything differs, or when a tensor holds one single code.");
  c->callback([a, &code] { code = run(*a); });
}

}  // namespace halftone::tools
