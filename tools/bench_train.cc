// Training speed beside PyTorch: milliseconds per step, images per second, and the ratio, measured
// in one run; of float32 networks, or with --quantizers of quantized ones too, beside PyTorch's
// float simulation of the same quantizer.
//
// Each network's steps (forward, cross-entropy, backward, Adam) run in a process of their own, so
// that peak memory is its own too, and so do PyTorch's, one process per form: ours, PyTorch in
// every form asked for, ours; in further rounds its fastest form and ours again. The speed of a
// shared machine drifts, so each round of PyTorch is compared with ours just before and after it:
// the ratio is the median of the rounds', printed with the smallest and the largest.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "tensor/context.h"
#include "tensor/error.h"
#include "tools/bench_command.h"
#include "tools/bench_train_step.h"
#include "tools/shell.h"

namespace {

using namespace halftone;
using tools::BenchNetwork;
using tools::median;
using tools::Outcome;
using tools::quoted;
using tools::run_command;
using Json = nlohmann::ordered_json;

const std::vector<std::string> kForms = {"eager", "channels_last", "channels_last+compile"};
const std::vector<std::string> kDeviceForms = {"eager",
                                               "channels_last+graphs",
                                               "channels_last+compile+graphs",
                                               "channels_last+bf16",
                                               "channels_last+bf16+graphs",
                                               "channels_last+bf16+compile+graphs"};
const char* const kScript = "tools/bench_train_torch.py";

struct Options {
  std::vector<std::string> networks, quantizers;
  int threads = 0, steps = 0, rounds = 3, batch = 0;
  std::string python = "python3", script = kScript, device = "cpu", math = "float32";
  std::vector<std::string> forms;
  bool json = false;
  std::vector<std::string> child;  // network, quantizer: set in the measuring process
};

Json run_torch(const BenchNetwork& n, const std::string& quantizer, const Options& o,
               const std::string& form) {
  // Without these two, glibc gives large blocks back to the system after every step: up to three
  // times slower.
  const std::string tunables =
      "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold="
      "8589934592";
  const int steps = o.steps > 0 ? o.steps : n.steps / 2;
  const Outcome outcome =
      run_command(fmt::format("{} {} {} {} {} {} {} {} {}{}", tunables, quoted(o.python),
                              quoted(o.script), n.name, n.batch, o.threads, std::max(8, steps),
                              quoted(form), quantizer, o.device == "cpu" ? "" : " " + o.device));
  if (!outcome.result.is_null()) return outcome.result;
  return {{"form", form}, {"error", outcome.last_line}};
}

Json run_ours(const BenchNetwork& n, const std::string& quantizer, const Options& o,
              const std::string& program) {
  const Outcome outcome = run_command(fmt::format(
      "{} --child {} {} --threads {} --steps {} --batch {} --device {} "
      "--math {}",
      quoted(program), n.name, quantizer, o.threads, o.steps, n.batch, o.device, o.math));
  if (outcome.result.is_null()) {
    throw HALFTONE_ERROR("bench_train")
        .expected("a result of the measuring process")
        .found(outcome.last_line);
  }
  return outcome.result;
}

// What a comparison has measured. ours[i] and ours[i + 1] stand before and after rounds[i], of
// PyTorch's fastest form.
struct Turns {
  std::vector<Json> ours, rounds;
  Json torch = Json::array();  // every form once, and a round that failed

  std::vector<double> ratios() const {
    std::vector<double> out;
    for (size_t i = 0; i < rounds.size(); ++i)
      out.push_back(2 * ms(rounds[i]) / (ms(ours[i]) + ms(ours[i + 1])));
    return out;
  }
  static double ms(const Json& run) { return run["ms"].get<double>(); }
  static double median_ms(const std::vector<Json>& runs) {
    std::vector<double> all;
    for (const Json& run : runs) all.push_back(ms(run));
    return median(all);
  }
};

// Null when no form ran.
Json fastest_of(const Json& torch) {
  Json fastest;
  for (const Json& t : torch) {
    if (t.contains("ms") && (fastest.is_null() || t["ms"] < fastest["ms"])) fastest = t;
  }
  return fastest;
}

Turns take_turns(const BenchNetwork& n, const std::string& quantizer, const Options& o,
                 const std::string& program) {
  Turns turns;
  turns.ours.push_back(run_ours(n, quantizer, o, program));
  for (const std::string& form : o.forms) turns.torch.push_back(run_torch(n, quantizer, o, form));
  turns.ours.push_back(run_ours(n, quantizer, o, program));
  Json round = fastest_of(turns.torch);
  while (round.contains("ms")) {
    turns.rounds.push_back(round);
    if (static_cast<int>(turns.rounds.size()) >= o.rounds) return turns;
    round = run_torch(n, quantizer, o, round["form"].get<std::string>());
    turns.ours.push_back(run_ours(n, quantizer, o, program));
  }
  if (!round.is_null()) turns.torch.push_back(round);
  return turns;
}

Json compare(const BenchNetwork& n, const std::string& quantizer, const Options& o,
             const std::string& program) {
  const Turns turns = take_turns(n, quantizer, o, program);
  const Json &first = turns.ours.front(), &last = turns.ours.back();
  const double ours = Turns::median_ms(turns.ours);
  Json row = {{"network", n.name},
              {"quantizer", quantizer},
              {"batch", n.batch},
              {"threads", o.threads},
              {"device", o.device},
              {"math", o.math},
              {"ms_per_step", ours},
              {"images_per_second", 1000.0 * n.batch / ours},
              {"peak_bytes", first["peak_bytes"]},
              {"allocations_in_steady_state", last["allocations"]},
              {"float_layers", last["float_layers"]},
              {"torch", turns.torch}};
  if (last.contains("recorded")) row["recorded_steps"] = last["recorded"];
  for (const Json& t : turns.torch) {
    if (t["form"] == "eager" && t.contains("ms"))
      row["ratio_to_eager"] = t["ms"].get<double>() / ours;
  }
  if (turns.rounds.empty()) return row;
  const Json& fastest = turns.rounds.front();
  row["torch_ms"] = Turns::median_ms(turns.rounds), row["torch_form"] = fastest["form"];
  row["torch_peak_bytes"] = fastest["peak_bytes"];
  row["ratio"] = median(turns.ratios()), row["ratios"] = turns.ratios();
  return row;
}

// How many times the float step of the same side the step takes.
void add_overhead(const Json& float_row, Json& row) {
  for (const std::string side : {"ms_per_step", "torch_ms"}) {
    if (!row.contains(side) || !float_row.contains(side)) continue;
    row[side == "torch_ms" ? "torch_x_float" : "x_float"] =
        row[side].get<double>() / float_row[side].get<double>();
  }
}

void print_header() {
  fmt::print("{:<9} {:<14} {:>5} {:>9} {:>9} {:>8} {:>6} {:>7}  {:>9} {:>8} {:>7} {:<22} {}\n",
             "network", "quantizer", "batch", "ms/step", "images/s", "peak MB", "allocs", "x float",
             "torch ms", "peak MB", "x float", "fastest form", "ratio (rounds)");
}

// Forms that failed, beneath the row; a Python without torch is said once.
void print_failures(const Json& torch) {
  for (const Json& t : torch) {
    if (!t.contains("error")) continue;
    const std::string error = t["error"].get<std::string>();
    if (error.find("No module named 'torch'") != std::string::npos) {
      fmt::print("  no PyTorch: give --python a Python that has torch\n");
      return;
    }
    fmt::print("  PyTorch, {}, failed: {}\n", t["form"].get<std::string>(), error);
  }
}

// Layers that stay on floats, beneath the row, by reason.
void print_float_layers(const Json& layers) {
  std::map<std::string, int> reasons;
  for (const auto& [layer, why] : layers.items()) ++reasons[why.get<std::string>()];
  for (const auto& [why, count] : reasons) fmt::print("  {} on floats: {}\n", count, why);
}

void print_row(const Json& r) {
  fmt::print("{:<9} {:<14} {:>5} {:>9.3f} {:>9.0f} {:>8.0f} {:>6} {:>6.2f}x  ",
             r["network"].get<std::string>(), r["quantizer"].get<std::string>(),
             r["batch"].get<int>(), r["ms_per_step"].get<double>(),
             r["images_per_second"].get<double>(), r["peak_bytes"].get<double>() / 1e6,
             r["allocations_in_steady_state"].get<int64_t>(), r["x_float"].get<double>());
  if (r.contains("ratio")) {
    const auto ratios = r["ratios"].get<std::vector<double>>();
    const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
    fmt::print("{:>9.3f} {:>8.0f} {:>6.2f}x {:<22} {:.2f}x ({:.2f} to {:.2f})\n",
               r["torch_ms"].get<double>(), r["torch_peak_bytes"].get<double>() / 1e6,
               r["torch_x_float"].get<double>(), r["torch_form"].get<std::string>(),
               r["ratio"].get<double>(), *least, *most);
  } else {
    fmt::print("{:>9}\n", "-");
  }
  if (r.contains("ratio_to_eager"))
    fmt::print("  {:.2f}x PyTorch, eager\n", r["ratio_to_eager"].get<double>());
  if (r.contains("recorded_steps"))
    fmt::print("  {} of the steps recorded\n", r["recorded_steps"].get<int64_t>());
  print_float_layers(r["float_layers"]);
  print_failures(r["torch"]);
  std::fflush(stdout);
}

// What was asked for, or everything; float first, as the others are measured against it.
std::vector<std::string> chosen_quantizers(const Options& o) {
  std::vector<std::string> chosen = {"float"};
  for (const std::string& name : o.quantizers) {
    if (name == "all") return tools::bench_quantizers();
    if (name != "float") chosen.push_back(name);
  }
  return chosen;
}

int run(const Options& o, const std::string& program) {
  if (!o.json) print_header();
  Json rows = Json::array();
  for (BenchNetwork n : tools::bench_networks()) {
    if (!o.networks.empty() && std::count(o.networks.begin(), o.networks.end(), n.name) == 0)
      continue;
    if (o.batch > 0) n.batch = o.batch;
    const size_t base = rows.size();
    for (const std::string& quantizer : chosen_quantizers(o)) {
      Json row = compare(n, quantizer, o, program);
      add_overhead(rows.size() == base ? Json(row) : rows[base], row);
      rows.push_back(std::move(row));
      if (!o.json) print_row(rows.back());
    }
  }
  if (o.json) fmt::print("{}\n", Json{{"bench_train", rows}}.dump());
  return 0;
}

int run_child(const Options& o) {
  tools::BenchRequest request{o.child[0], o.child[1], o.threads, o.steps, o.batch, {}};
  request.device = choose_device(o.device, o.math);
  fmt::print("{}\n", tools::measure_steps(request).dump());
  return 0;
}

std::vector<std::string> network_names() {
  std::vector<std::string> names;
  for (const BenchNetwork& n : tools::bench_networks()) names.push_back(n.name);
  return names;
}

std::vector<std::string> quantizer_words() {
  std::vector<std::string> words = tools::bench_quantizers();
  words.push_back("all");
  return words;
}

void add_options(CLI::App& app, Options& o) {
  app.add_option("networks", o.networks, "None: all of them")
      ->check(CLI::IsMember(network_names()));
  app.add_option("--quantizers", o.quantizers,
                 "Quantized networks too, beside PyTorch's simulation: names with commas, or all")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember(quantizer_words()));
  app.add_option("--threads", o.threads, "For both sides; 0: all cores")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--steps", o.steps, "Measured steps; 0: 400, 30, 8")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--batch", o.batch, "Images of a step; 0: 64, 128, 64")
      ->check(CLI::Range(0, 1 << 16));
  app.add_option("--device", o.device,
                 "For both sides: cpu (the default), cuda, cuda:N, or auto: cuda where there is a "
                 "GPU");
  app.add_option("--math", o.math,
                 "On a GPU, what our convolutions and products multiply: float32 (the default), "
                 "tf32 or bfloat16");
  app.add_option("--rounds", o.rounds, "Turns of ours and PyTorch's fastest form")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--python", o.python, "A Python that has torch")
      ->envname("HALFTONE_PYTHON")
      ->capture_default_str();
  app.add_option("--torch-script", o.script, "The PyTorch half")->capture_default_str();
  app.add_option("--forms", o.forms,
                 "Forms of PyTorch to try: eager, or of these words with + between them: "
                 "channels_last, compile; on a GPU also bf16 (autocast), graphs (CUDA graphs)");
  app.add_flag("--json", o.json, "One JSON object instead of the table");
  app.add_option("--child", o.child, "Network and quantizer: measures, for the program itself")
      ->expected(2)
      ->group("");
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Training steps per second beside PyTorch's fastest form, in one run"};
  add_options(app, o);
  try {
    app.parse(argc, argv);
    if (o.threads == 0) o.threads = Context().threads();
    o.device = name_of(choose_device(o.device, o.math).device);
    if (o.device == "cpu") o.math = "float32";
    if (o.forms.empty()) o.forms = o.device == "cpu" ? kForms : kDeviceForms;
    if (o.script == kScript && !std::filesystem::exists(kScript))
      o.script = std::string("data/") + kScript;  // in //tools:gpu_bundle
    return o.child.empty() ? run(o, argv[0]) : run_child(o);
  } catch (const CLI::ParseError& e) {
    return app.exit(e);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_train: %s\n", e.what());
    return 1;
  }
}
