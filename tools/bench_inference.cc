// Inference speed of integer programs: milliseconds per batch and images per second, beside ONNX
// Runtime on the same network, exported by us, in the same run and with as many threads.
//
// The two take turns, because the speed of a shared machine drifts: ours, ONNX Runtime, ours, and
// so on. Each round of ONNX Runtime is compared with ours just before and after it; the ratio is
// the median of the rounds', printed with the smallest and the largest.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "deploy/export_onnx.h"
#include "deploy/runtime/program_file.h"
#include "deploy/runtime/session.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"
#include "tools/bench_command.h"
#include "tools/bench_layers.h"
#include "tools/bench_programs.h"
#include "tools/shell.h"

namespace {

using namespace halftone;
using tools::BenchProgram;
using tools::median;
using tools::quoted;
using Json = nlohmann::ordered_json;

struct Options {
  std::vector<std::string> networks;
  std::vector<int64_t> batches = {64, 1};
  int threads = 0, rounds = 3;
  double seconds = 0.5;
  std::string body = integer::bodies().back().name;
  std::string python = "python3", script = "tools/bench_inference_onnx.py";
  bool json = false;
};

const integer::Body& body_of(const Options& o) {
  for (const integer::Body& body : integer::bodies()) {
    if (body.name == o.body) return body;
  }
  throw HALFTONE_ERROR("bench_inference")
      .at("--body")
      .expected("a body of this machine")
      .found(o.body);
}

// The median time of a batch, repeated for so many seconds.
double milliseconds(runtime::Session& session, int64_t batch, double seconds) {
  using Clock = std::chrono::steady_clock;
  const runtime::Program& program = session.program();
  std::vector<uint8_t> images(static_cast<size_t>(batch * program.input().shape.size()));
  for (size_t i = 0; i < images.size(); ++i)
    images[i] = static_cast<uint8_t>(static_cast<uint32_t>(i) * 2654435761u >> 24);
  std::vector<float> results(static_cast<size_t>(batch * program.result().shape.size()));
  std::vector<double> times;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (times.size() < 4 || Clock::now() < end) {
    const auto start = Clock::now();
    session.run(images.data(), batch, results.data());
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  return median(std::vector<double>(times.begin() + 1, times.end()));
}

// {"ms", "version"}, or {"error": the last line that it said}.
Json run_onnx(const std::string& file, int64_t batch, const Options& o) {
  const tools::Outcome outcome =
      tools::run_command(fmt::format("{} {} {} {} {} {}", quoted(o.python), quoted(o.script),
                                     quoted(file), batch, o.threads, o.seconds));
  return outcome.result.is_null() ? Json{{"error", outcome.last_line}} : outcome.result;
}

// The program as an ONNX file that goes with it.
class OnnxFile {
 public:
  explicit OnnxFile(const runtime::Program& program)
      : path_(fmt::format("/tmp/bench_inference-{}-{}.onnx", getpid(), program.network)) {
    write_file_atomically(path_, to_onnx(program));
  }
  ~OnnxFile() { std::remove(path_.c_str()); }
  OnnxFile(const OnnxFile&) = delete;
  OnnxFile& operator=(const OnnxFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Json measure(runtime::Session& session, const std::string& file, int64_t batch, const Options& o) {
  std::vector<double> ours = {milliseconds(session, batch, o.seconds)}, theirs, ratios;
  Json onnx;
  for (int round = 0; round < o.rounds; ++round) {
    if (!file.empty() && !onnx.contains("error")) onnx = run_onnx(file, batch, o);
    ours.push_back(milliseconds(session, batch, o.seconds));
    if (!onnx.contains("ms")) continue;
    theirs.push_back(onnx["ms"].get<double>());
    ratios.push_back(2 * theirs.back() / (ours[ours.size() - 2] + ours.back()));
  }
  Json row = {{"network", session.program().network},
              {"batch", batch},
              {"threads", o.threads},
              {"ms", median(ours)},
              {"images_per_second", 1000.0 * static_cast<double>(batch) / median(ours)}};
  if (onnx.contains("error")) row["onnxruntime_error"] = onnx["error"];
  if (ratios.empty()) return row;
  row["onnxruntime_ms"] = median(theirs), row["onnxruntime_version"] = onnx["version"];
  row["ratio"] = median(ratios), row["ratios"] = ratios;
  return row;
}

void print_row(const Json& r) {
  fmt::print("{:<16} {:>5} {:>9.3f} {:>9.0f}", r["network"].get<std::string>(),
             r["batch"].get<int>(), r["ms"].get<double>(), r["images_per_second"].get<double>());
  if (r.contains("ratio")) {
    const auto ratios = r["ratios"].get<std::vector<double>>();
    const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
    fmt::print("  {:>12.3f} {:.2f}x ({:.2f} to {:.2f})", r["onnxruntime_ms"].get<double>(),
               r["ratio"].get<double>(), *least, *most);
  }
  fmt::print("\n");
  if (r.contains("onnxruntime_error")) {
    const auto error = r["onnxruntime_error"].get<std::string>();
    const bool absent = error.find("No module named") != std::string::npos;
    fmt::print("  {}\n", absent ? "no ONNX Runtime: give --python a Python that has onnxruntime"
                                : "ONNX Runtime failed: " + error);
  }
  std::fflush(stdout);
}

bool chosen(const Options& o, const std::string& name) {
  return o.networks.empty() || std::count(o.networks.begin(), o.networks.end(), name) > 0;
}

Json bench_networks(const Options& o) {
  Json rows = Json::array();
  for (const BenchProgram& network : tools::bench_programs()) {
    if (!chosen(o, network.name)) continue;
    const Context context;
    const tools::CompiledBench made = tools::compile_bench(context, network);
    const auto program = std::make_shared<const runtime::Program>(made.compiled.program);
    const auto bytes = static_cast<double>(runtime::to_bytes(*program).size());
    std::unique_ptr<OnnxFile> file;
    std::string refused;
    try {
      file = std::make_unique<OnnxFile>(*program);
    } catch (const Error& e) {
      refused = e.what();
    }
    runtime::Session session(program, {body_of(o), o.threads, false});
    for (const int64_t batch : o.batches) {
      rows.push_back(measure(session, file == nullptr ? "" : file->path(), batch, o));
      if (!refused.empty()) rows.back()["onnxruntime_error"] = refused;
      rows.back()["file_bytes"] = bytes, rows.back()["fp32_bytes"] = made.fp32_bytes;
      if (!o.json) print_row(rows.back());
    }
    if (!o.json) {
      fmt::print("  file {:.2f} MB, in float {:.2f} MB: 1/{:.1f}\n", bytes / 1e6,
                 static_cast<double>(made.fp32_bytes) / 1e6,
                 static_cast<double>(made.fp32_bytes) / bytes);
    }
  }
  return rows;
}

// The same layer on 8 bits and on one; signs of the image, which both make first, are taken off.
Json bench_bits(const Options& o) {
  Json rows = Json::array();
  for (const tools::BenchLayer& layer : tools::bench_layers()) {
    const int64_t batch = o.batches.front();
    const auto ms = [&](const runtime::Program& program) {
      runtime::Session session(std::make_shared<const runtime::Program>(program),
                               {body_of(o), o.threads, false});
      return milliseconds(session, batch, o.seconds / 2);
    };
    std::vector<double> eight, one, ratios;
    for (int round = 0; round < o.rounds; ++round) {
      const double signs = ms(tools::signs_program(layer));
      eight.push_back(ms(tools::layer_program(layer, 8)) - signs);
      one.push_back(ms(tools::layer_program(layer, 1)) - signs);
      ratios.push_back(eight.back() / one.back());
    }
    rows.push_back({{"layer", layer.name},
                    {"batch", batch},
                    {"int8_ms", median(eight)},
                    {"one_bit_ms", median(one)},
                    {"ratio", median(ratios)},
                    {"ratios", ratios}});
    const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
    if (o.json) continue;
    fmt::print("{:<22} {:>5} {:>9.3f} {:>9.3f} {:.2f}x ({:.2f} to {:.2f})\n", layer.name, batch,
               median(eight), median(one), median(ratios), *least, *most);
    std::fflush(stdout);
  }
  return rows;
}

int run(const Options& o) {
  Json all;
  if (!o.json) {
    fmt::print("{:<16} {:>5} {:>9} {:>9}  {:>12} {}\n", "network", "batch", "ms", "images/s",
               "ONNX Runtime", "ratio (rounds)");
  }
  all["bench_inference"] = bench_networks(o);
  if (chosen(o, "layers")) {
    if (!o.json)
      fmt::print("\n{:<22} {:>5} {:>9} {:>9}\n", "layer", "batch", "int8 ms", "1-bit ms");
    all["layers"] = bench_bits(o);
  }
  if (o.json) fmt::print("{}\n", all.dump());
  return 0;
}

std::vector<std::string> network_names() {
  std::vector<std::string> names;
  for (const BenchProgram& p : tools::bench_programs()) names.push_back(p.name);
  names.emplace_back("layers");
  return names;
}

void add_options(CLI::App& app, Options& o) {
  app.add_option("networks", o.networks,
                 "None: all of them; layers: single ones on 8 bits and on one")
      ->check(CLI::IsMember(network_names()));
  app.add_option("--batch", o.batches, "Images of a batch")->capture_default_str();
  app.add_option("--threads", o.threads, "For both sides; 0: all cores");
  app.add_option("--body", o.body, "The engine's instruction set")->capture_default_str();
  app.add_option("--seconds", o.seconds, "Of every measurement")->capture_default_str();
  app.add_option("--rounds", o.rounds, "Turns of ours and ONNX Runtime")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--python", o.python, "A Python that has onnxruntime")
      ->envname("HALFTONE_PYTHON")
      ->capture_default_str();
  app.add_option("--onnx-script", o.script, "ONNX Runtime's half")->capture_default_str();
  app.add_flag("--json", o.json, "One JSON object instead of the table");
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Images per second of integer programs beside ONNX Runtime, in one run"};
  add_options(app, o);
  try {
    app.parse(argc, argv);
    if (o.threads == 0) o.threads = Context().threads();
    return run(o);
  } catch (const CLI::ParseError& e) {
    return app.exit(e);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_inference: %s\n", e.what());
    return 1;
  }
}
