// Inference speed of integer programs: milliseconds per batch, images per second.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "deploy/runtime/program_file.h"
#include "deploy/runtime/session.h"
#include "tools/bench_programs.h"

namespace {

using namespace halftone;
using tools::BenchProgram;
using Json = nlohmann::ordered_json;

struct Options {
  std::vector<std::string> networks;
  std::vector<int64_t> batches = {64, 1};
  int threads = 0, rounds = 3;
  double seconds = 0.5;
  std::string body;
  bool json = false;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// The median time of a batch, repeated for so many seconds.
double milliseconds(runtime::Session& session, int64_t batch, double seconds) {
  using Clock = std::chrono::steady_clock;
  const runtime::Program& program = session.program();
  std::vector<uint8_t> images(static_cast<size_t>(batch * program.input().shape.size()));
  for (size_t i = 0; i < images.size(); ++i)
    images[i] = static_cast<uint8_t>(i * 2654435761u >> 24);
  std::vector<float> results(static_cast<size_t>(batch * program.result().shape.size()));
  std::vector<double> times;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  for (int warm = 0; warm < 2 || Clock::now() < end; ++warm) {
    const auto start = Clock::now();
    session.run(images.data(), batch, results.data());
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  return median(times);
}

const integer::Body& chosen_body(const std::string& name) {
  for (const integer::Body& body : integer::bodies()) {
    if (body.name == name) return body;
  }
  return integer::bodies().back();
}

Json measure(const BenchProgram& network, const Options& o) {
  const Context context;
  const auto program = std::make_shared<const runtime::Program>(
      tools::compile_bench(context, network).compiled.program);
  Json rows = Json::array();
  runtime::Session session(program, {chosen_body(o.body), o.threads, false});
  for (const int64_t batch : o.batches) {
    std::vector<double> ours;
    for (int round = 0; round < o.rounds; ++round)
      ours.push_back(milliseconds(session, batch, o.seconds));
    rows.push_back({{"network", network.name},
                    {"batch", batch},
                    {"threads", o.threads},
                    {"ms", median(ours)},
                    {"images_per_second", 1000.0 * static_cast<double>(batch) / median(ours)}});
  }
  return rows;
}

int run(const Options& o) {
  Json rows = Json::array();
  for (const BenchProgram& network : tools::bench_programs()) {
    if (!o.networks.empty() && std::count(o.networks.begin(), o.networks.end(), network.name) == 0)
      continue;
    for (const Json& row : measure(network, o)) {
      fmt::print("{:<14} {:>5} {:>9.3f} {:>9.0f}\n", row["network"].get<std::string>(),
                 row["batch"].get<int>(), row["ms"].get<double>(),
                 row["images_per_second"].get<double>());
      std::fflush(stdout);
      rows.push_back(row);
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Images per second of integer programs"};
  app.add_option("networks", o.networks, "None: all of them");
  app.add_option("--batch", o.batches);
  app.add_option("--threads", o.threads, "0: all cores");
  app.add_option("--body", o.body);
  app.add_option("--seconds", o.seconds);
  app.add_option("--rounds", o.rounds);
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
