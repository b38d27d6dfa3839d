// halftone export
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "deploy/c_header.h"
#include "deploy/export_onnx.h"
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
  int opset = 13;
  bool json = false;
};

// A program in one of the formats, and a line for people about it.
struct Exported {
  std::string text;
  int64_t deployed_bytes = 0;  // of constants, on the device
  std::string note;
};

struct Format {
  const char *name, *extension, *what;
  Exported (*write)(const RunProgram& p, const Arguments& a);
};

Exported write_halftone(const RunProgram& p, const Arguments&) {
  Exported e{runtime::to_bytes(p.compiled.program), 0, ""};
  e.deployed_bytes = static_cast<int64_t>(e.text.size());
  return e;
}

Exported write_c(const RunProgram& p, const Arguments&) {
  CHeader header = to_c_header(p.compiled.program);
  return {
      std::move(header.text), header.constant_bytes,
      fmt::format("{:.1f} kB of constants and {:.1f} kB of buffer; the file says how to use it\n",
                  static_cast<double>(header.constant_bytes) / 1000,
                  static_cast<double>(header.buffer_bytes) / 1000)};
}

Exported write_onnx(const RunProgram& p, const Arguments& a) {
  Exported e{to_onnx(p.compiled.program, a.opset), 0, ""};
  e.deployed_bytes = static_cast<int64_t>(e.text.size());
  e.note = "input \"image\": uint8 (N, C, H, W); output \"logits\"\n";
  if (a.opset > 13)
    e.note += fmt::format("not checked: opset {} is newer than the ONNX library here\n", a.opset);
  return e;
}

Exported write_qonnx(const RunProgram& p, const Arguments&) {
  Exported e{to_qonnx(p.compiled.program, p.source.normalisation), 0, ""};
  e.deployed_bytes = static_cast<int64_t>(e.text.size());
  e.note =
      "input \"image\": float (N, C, H, W), less the mean and divided by the deviation; output "
      "\"logits\"\n";
  return e;
}

const std::vector<Format>& formats() {
  static const std::vector<Format> all{
      {"halftone", ".halftone", "a file for deploy/runtime", write_halftone},
      {"c", ".h", "one C99 header with weights and graph, for microcontrollers", write_c},
      {"onnx", ".onnx",
       "QuantizeLinear and DequantizeLinear around every layer, which ONNX Runtime fuses to the "
       "same integers",
       write_onnx},
      {"qonnx", ".qonnx.onnx", "Quant nodes of QONNX, in floats, for FINN and hls4ml",
       write_qonnx}};
  return all;
}

const Format& format_of(const std::string& name) {
  for (const Format& f : formats()) {
    if (f.name == name) return f;
  }
  throw std::logic_error("a format that the command line has let through");
}

// In the run's folder, which may be named by its checkpoint.
std::string default_path(const std::string& run, const Format& format) {
  const std::filesystem::path path(run);
  const bool folder = std::filesystem::is_directory(path);
  return ((folder ? path : path.parent_path()) / ("model" + std::string(format.extension)))
      .string();
}

int run(const Arguments& a) {
  const RunProgram p = compile_run(a.request, "export");
  const Format& format = format_of(a.format);
  const Exported e = format.write(p, a);
  const std::string out = a.out.empty() ? default_path(a.request.path, format) : a.out;
  write_file_atomically(out, e.text);
  const ProgramReport report = report_program(
      p.compiled.program, out, e.deployed_bytes,
      measure_sizes(*p.run.network.model.module, p.run.network.quantizer.get()).fp32_bytes);
  std::fputs((to_table(report) + e.note).c_str(), a.json ? stderr : stdout);
  if (a.json) std::printf("%s\n", to_json(report).dump().c_str());
  return 0;
}

}  // namespace

void add_export(CLI::App& app, int& code) {
  CLI::App* c = app.add_subcommand("export", "Write the integer program of a quantized run");
  auto a = std::make_shared<Arguments>();
  std::vector<std::string> names, extensions;
  std::string help;
  for (const Format& f : formats()) {
    names.push_back(f.name);
    extensions.push_back("model" + std::string(f.extension));
    help += fmt::format("{}{}: {}", help.empty() ? "" : "; ", f.name, f.what);
  }
  c->add_option("run", a->request.path, "Run folder or checkpoint of a quantized network")
      ->required();
  c->add_option("--format", a->format, help)->check(CLI::IsMember(names))->capture_default_str();
  auto* opset =
      c->add_option("--opset", a->opset,
                    "Of onnx. 21: weights of up to 4 bits as int4, which runtimes compute in float")
          ->check(CLI::IsMember({13, 21}))
          ->capture_default_str();
  c->add_option(
      "--out", a->out,
      fmt::format("File (default: {} in RUN, by the format)", fmt::join(extensions, ", ")));
  c->add_option(
      "--data", a->request.data,
      "Folder of the data set, instead of the recipe's: its mean and deviation are folded "
      "into the first table");
  c->add_flag("--json", a->json, "One JSON object on standard output");
  c->callback([a, opset, &code] {
    if (opset->count() > 0 && a->format != "onnx")
      throw CLI::ValidationError("--opset", "goes with --format onnx");
    code = run(*a);
  });
}

}  // namespace halftone::tools
