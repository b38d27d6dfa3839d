// Times the CUDA kernels: median of device events, GB/s of the fewest bytes that the operation can
// move, percent of a device-to-device copy in the same run, and the ratio to PyTorch's operator.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "tools/bench_kernels_cuda_ops.h"

using namespace halftone;
using Json = nlohmann::json;

namespace {

struct Options {
  std::vector<int> log_sizes = {26, 22, 18};
  std::string python = "python3", script = "tools/bench_kernels_cuda_torch.py", json, only;
  int repeats = 30;
  bool no_torch = false;
};

struct Result {
  std::string op, dtype, layout;
  int64_t elements = 0;
  double bytes = 0, us = 0, torch_us = 0;  // torch_us 0: PyTorch has no such operator
  double gbs() const { return bytes * static_cast<double>(elements) / us * 1e-3; }
  std::string key() const { return fmt::format("{} {} {} {}", op, dtype, layout, elements); }
};

// Microseconds of one call: the median over turns through all sets of buffers.
double time_of(cuda::Stream& s, const Bench& bench, const std::vector<BenchBuffers>& sets,
               const BenchParameters& p, int repeats) {
  for (int i = 0; i < 2; ++i) {
    for (const BenchBuffers& b : sets) bench.run(s, b, p);
  }
  std::vector<double> times;
  cuda::Event begin, end;
  for (int i = 0; i < repeats; ++i) {
    begin.record(s);
    for (const BenchBuffers& b : sets) bench.run(s, b, p);
    end.record(s);
    end.synchronize();
    times.push_back(end.milliseconds_since(begin) * 1e3 / static_cast<double>(sets.size()));
  }
  std::nth_element(times.begin(), times.begin() + repeats / 2, times.end());
  return times[repeats / 2];
}

std::vector<Result> run_size(const Options& o, int log_size) {
  const int64_t n = int64_t{1} << log_size;
  cuda::Stream stream;
  const BenchParameters parameters(stream);
  // Sets that together are far larger than any level-2 cache, and enough calls to hide launches.
  std::vector<BenchBuffers> sets;
  const int64_t count = std::max<int64_t>(2, std::min<int64_t>(32, (int64_t{1} << 27) / n));
  for (int64_t i = 0; i < count; ++i) sets.emplace_back(n);
  std::vector<Result> results;
  DType filled = DType::kBool;
  for (const Bench& bench : kernel_benches()) {
    if (bench.op != "copy" && bench.op.find(o.only) == std::string::npos) continue;
    if (bench.dtype != filled) {
      for (const BenchBuffers& b : sets) b.fill(stream, bench.dtype);
      filled = bench.dtype;
    }
    Result r{bench.op, name_of(bench.dtype), bench.layout, n, bench.bytes};
    r.us = time_of(stream, bench, sets, parameters, o.repeats);
    results.push_back(r);
  }
  return results;
}

// Lines "op dtype layout elements microseconds" of the PyTorch half; other lines are shown.
std::map<std::string, double> torch_times(const Options& o) {
  std::map<std::string, double> times;
  const bool here = std::ifstream(o.script).good();  // a bundle keeps it in data/
  std::string command = o.python + " " + (here ? o.script : "data/" + o.script);
  for (const int size : o.log_sizes) command += fmt::format(" {}", size);
  std::FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return times;
  char line[512];
  while (std::fgets(line, sizeof line, pipe) != nullptr) {
    char op[64], dtype[64], layout[64];
    long long elements = 0;
    double us = 0;
    if (std::sscanf(line, "%63s %63s %63s %lld %lf", op, dtype, layout, &elements, &us) == 5) {
      times[fmt::format("{} {} {} {}", op, dtype, layout, elements)] = us;
    } else {
      fmt::print("PyTorch: {}", line);
    }
  }
  if (pclose(pipe) != 0) fmt::print("PyTorch's half failed: {}\n", command);
  return times;
}

// Of the rates of a list, the copy's that stands before them.
std::vector<double> percent_of_copy(const std::vector<Result>& results) {
  double copy = 0;
  std::vector<double> out;
  for (const Result& r : results) {
    if (r.op == "copy") copy = r.gbs();
    out.push_back(100 * r.gbs() / copy);
  }
  return out;
}

void print(const std::vector<Result>& results) {
  const std::vector<double> percent = percent_of_copy(results);
  fmt::print("{:24} {:9} {:8} {:>10} {:>10} {:>8} {:>7} {:>10} {:>7}\n", "op", "dtype", "layout",
             "elements", "us", "GB/s", "% copy", "torch us", "ratio");
  for (size_t i = 0; i < results.size(); ++i) {
    const Result& r = results[i];
    fmt::print("{:24} {:9} {:8} {:10} {:10.2f} {:8.0f} {:7.1f} ", r.op, r.dtype, r.layout,
               r.elements, r.us, r.gbs(), percent[i]);
    if (r.torch_us > 0) fmt::print("{:10.2f} {:6.2f}x", r.torch_us, r.torch_us / r.us);
    fmt::print("\n");
  }
}

void write_json(const std::string& path, const std::string& device,
                const std::vector<Result>& results) {
  const std::vector<double> percent = percent_of_copy(results);
  Json list = Json::array();
  for (size_t i = 0; i < results.size(); ++i) {
    const Result& r = results[i];
    Json row = {{"op", r.op},
                {"dtype", r.dtype},
                {"layout", r.layout},
                {"elements", r.elements},
                {"us", r.us},
                {"gb_per_s", r.gbs()},
                {"percent_of_copy", percent[i]}};
    if (r.torch_us > 0) row["torch_us"] = r.torch_us, row["ratio"] = r.torch_us / r.us;
    list.push_back(std::move(row));
  }
  std::ofstream(path) << Json{{"device", device}, {"results", list}}.dump(1) << "\n";
}

int run(const Options& o) {
  const std::string reason = cuda::unusable_reason();
  if (!reason.empty()) {
    fmt::print(stderr, "bench_kernels_cuda: {}\n", reason);
    return 1;
  }
  cudaDeviceProp device{};
  HALFTONE_CUDA(cudaGetDeviceProperties(&device, 0));
  fmt::print("{}, {} multiprocessors\n", device.name, device.multiProcessorCount);
  std::vector<Result> results;
  for (const int size : o.log_sizes) {
    for (const Result& r : run_size(o, size)) results.push_back(r);
  }
  if (!o.no_torch) {
    const std::map<std::string, double> torch = torch_times(o);
    for (Result& r : results) {
      const auto found = torch.find(r.key());
      if (found != torch.end()) r.torch_us = found->second;
    }
  }
  print(results);
  if (!o.json.empty()) write_json(o.json, device.name, results);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{
      "Times the CUDA kernels, beside PyTorch's where python3 has torch; bench_kernels times those "
      "of the CPU"};
  app.add_option("--log-sizes", o.log_sizes, "Elements, as powers of two")->capture_default_str();
  app.add_option("--only", o.only, "Operations whose name holds this");
  app.add_option("--repeats", o.repeats, "Measurements of each")->capture_default_str();
  app.add_option("--python", o.python, "A Python that has torch")->capture_default_str();
  app.add_option("--torch-script", o.script, "The PyTorch half")->capture_default_str();
  app.add_flag("--no-torch", o.no_torch, "Do not run PyTorch");
  app.add_option("--json", o.json, "Also write the results here");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(o);
  } catch (const Error& e) {
    fmt::print(stderr, "bench_kernels_cuda: {}\n", e.what());
    return 1;
  }
}
