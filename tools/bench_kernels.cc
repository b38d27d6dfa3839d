// Elementwise quantization kernels beside a copy of the same tensor and beside PyTorch, in one run.
//
// Every operation takes turns with a copy (memcpy on all threads), so that both see the same
// machine; GB/s counts the bytes that must move at least. PyTorch's operators run in a process of
// their own, with glibc's malloc tuned, between two halves of our runs.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tools/bench_command.h"
#include "tools/bench_kernel_ops.h"
#include "tools/shell.h"

namespace {

using namespace halftone;
using halftone::tools::BenchOp;
using halftone::tools::quoted;
using Json = nlohmann::ordered_json;

struct Options {
  int threads = 0, rounds = 15;
  std::vector<int64_t> pixels = {4096, 256};
  std::string only, python = "python3", script = "tools/bench_kernels_torch.py";
  bool json = false;
};

double microseconds(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
      .count();
}

double median(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

struct Row {
  const BenchOp* op;
  std::vector<double> times, copies;  // in turns
};

void measure(const BenchOp& copy, int rounds, Row& row) {
  row.op->run();
  for (int i = 0; i < rounds; ++i) {
    row.copies.push_back(microseconds(copy.run));
    row.times.push_back(microseconds(row.op->run));
  }
}

// PyTorch's medians by "name layout"; empty without a Python that has torch.
Json run_torch(const Options& o, int64_t pixels) {
  const std::string command = fmt::format(
      "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold="
      "8589934592 {} {} {} {} {}",
      quoted(o.python), quoted(o.script), pixels, o.threads, o.rounds);
  const Json result = tools::run_command(command).result;
  return result.is_null() ? Json::object() : result;
}

Json json_of(const Row& row, int64_t elements, const Json& torch) {
  const double us = median(row.times), copy = median(row.copies);
  Json j = {{"device", "cpu"},
            {"op", row.op->name},
            {"layout", row.op->layout},
            {"dtype", row.op->dtype},
            {"elements", elements},
            {"microseconds", us},
            {"gb_per_second", row.op->bytes * static_cast<double>(elements) / us / 1e3},
            {"copy_microseconds", copy},
            {"times_copy", us / copy}};
  const std::string key = row.op->name + " " + row.op->layout;
  if (torch.contains(key)) {
    j["torch_microseconds"] = torch[key];
    j["torch_ratio"] = torch[key].get<double>() / us;
  }
  return j;
}

void print_header(int64_t elements, const Json& torch) {
  fmt::print("\n{:.1f} M elements; PyTorch {}\n", static_cast<double>(elements) / 1e6,
             torch.contains("version") ? torch["version"].get<std::string>()
                                       : "not run: give --python a Python that has torch");
  fmt::print("{:<28} {:<7} {:<7} {:>10} {:>8} {:>8} {:>11} {:>7}\n", "operation", "grids", "dtype",
             "us", "GB/s", "x copy", "torch us", "ratio");
}

void print_row(const Json& j) {
  fmt::print("{:<28} {:<7} {:<7} {:>10.0f} {:>8.1f} {:>8.2f}", j["op"].get<std::string>(),
             j["layout"].get<std::string>(), j["dtype"].get<std::string>(),
             j["microseconds"].get<double>(), j["gb_per_second"].get<double>(),
             j["times_copy"].get<double>());
  if (j.contains("torch_ratio")) {
    fmt::print(" {:>11.0f} {:>6.1f}x", j["torch_microseconds"].get<double>(),
               j["torch_ratio"].get<double>());
  }
  fmt::print("\n");
}

void bench(const Options& o, const Context& context, int64_t pixels, Json& all) {
  const std::vector<BenchOp> ops = halftone::tools::cpu_ops(context, pixels);
  std::vector<Row> rows;
  for (const BenchOp& op : ops) {
    if (op.name.find(o.only) != std::string::npos) rows.push_back({&op, {}, {}});
  }
  for (Row& row : rows) measure(ops[0], (o.rounds + 1) / 2, row);
  const Json torch = run_torch(o, pixels);
  for (Row& row : rows) measure(ops[0], o.rounds / 2, row);
  const int64_t elements = 64 * 64 * pixels;
  if (!o.json) print_header(elements, torch);
  for (const Row& row : rows) {
    all.push_back(json_of(row, elements, torch));
    if (!o.json) print_row(all.back());
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{
      "Times the CPU's quantization kernels beside a copy of the same tensor and beside PyTorch; "
      "bench_kernels_cuda times those of a GPU"};
  app.add_option("--threads", o.threads, "For both sides; 0: all cores");
  app.add_option("--rounds", o.rounds, "Runs of each operation, of which the median counts")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  app.add_option("--pixels", o.pixels, "Sizes: a tensor has 64 * pixels * 64 values")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--only", o.only, "Operations whose name contains this");
  app.add_option("--python", o.python, "A Python that has torch")
      ->envname("HALFTONE_PYTHON")
      ->capture_default_str();
  app.add_option("--torch-script", o.script, "The PyTorch half")->capture_default_str();
  app.add_flag("--json", o.json, "One JSON object instead of the table");
  try {
    app.parse(argc, argv);
    ContextOptions options;
    options.threads = o.threads;
    const Context context(options);
    o.threads = context.threads();
    if (!o.json) fmt::print("{} threads", o.threads);
    Json all = Json::array();
    for (const int64_t pixels : o.pixels) bench(o, context, pixels, all);
    if (o.json) {
      fmt::print("{}\n", Json{{"threads", o.threads}, {"bench_kernels", all}}.dump());
    }
    return 0;
  } catch (const CLI::ParseError& e) {
    return app.exit(e);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_kernels: %s\n", e.what());
    return 1;
  }
}
