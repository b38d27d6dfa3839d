// Training speed beside PyTorch: milliseconds per step, images per second, and the ratio, measured
// in one run.
//
// Each network's steps (forward, cross-entropy, backward, Adam; float32) run in a process of their
// own, so that peak memory is its own too, and so do PyTorch's, one process per form: ours, PyTorch
// in every form asked for, ours again. The ratio is PyTorch's fastest form over the mean of our two
// medians.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "autograd/ops.h"
#include "nn/fuse.h"
#include "nn/optimizer.h"
#include "nn/zoo/zoo.h"
#include "tensor/memory.h"
#include "tools/shell.h"

namespace {

using namespace halftone;
using tools::quoted;
using Json = nlohmann::ordered_json;

struct Case {
  std::string network, variant;
  int batch;
};
// The forms that torch_train (bench_train_torch.py) builds too.
const std::vector<Case> kCases = {
    {"lenet5", "plain", 64}, {"resnet20", "", 128}, {"bnn_vgg", "pool_last", 64}};

struct Options {
  std::vector<std::string> networks;
  int threads = 0, steps = 0;
  std::string python = "python3", script = "tools/bench_train_torch.py";
  std::vector<std::string> forms = {"eager", "channels_last", "channels_last+compile"};
  bool json = false;
  std::string child;  // set in the measuring process
};

double milliseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

class Step {
 public:
  Step(const Context& context, const Case& c)
      : context_(context),
        model_(make_model(c.network, context, ModelOptions{10, c.variant, {}})),
        images_(Tensor::empty(context, model_.batch_shape(c.batch))),
        labels_(Tensor::empty(context, {c.batch}, DType::kInt64)) {
    const Philox random{1, 0};
    for (int64_t i = 0; i < images_.numel(); ++i)
      images_.data<float>()[i] = random.normal(static_cast<uint64_t>(i));
    for (int64_t i = 0; i < c.batch; ++i)
      labels_.data<int64_t>()[i] = static_cast<int64_t>(random.below(static_cast<uint64_t>(i), 10));
    const Variable dummy(Tensor::zeros(context, model_.batch_shape(1)));
    fuse_layers(*model_.module, trace(*model_.module, dummy));
    store_ = std::make_unique<ParameterStore>(*model_.module);
    optimizer_ = make_optimizer(*store_, {});
    model_->train();
  }

  void run() {
    optimizer_->zero_grad();
    {
      const MemoryStep memory(context_.memory(), "step");
      cross_entropy((*model_.module)(Variable(images_)), labels_).backward();
    }
    optimizer_->step();
  }

 private:
  Context context_;
  Model model_;
  Tensor images_, labels_;
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<Optimizer> optimizer_;
};

int default_steps(const Case& c) {
  return c.network == "lenet5" ? 400 : c.network == "resnet20" ? 30 : 8;
}

Json measure(const Case& c, const Options& o) {
  ContextOptions options;
  options.threads = o.threads;
  const Context context(options);
  Step step(context, c);
  const int steps = o.steps > 0 ? o.steps : default_steps(c);
  for (int i = 0; i < 3; ++i) step.run();
  const uint64_t before = context.memory().stats().heap_allocations;
  std::vector<double> times;
  for (int i = 0; i < steps; ++i) {
    const auto start = std::chrono::steady_clock::now();
    step.run();
    times.push_back(milliseconds_since(start));
  }
  const uint64_t allocations = context.memory().stats().heap_allocations - before;
  std::sort(times.begin(), times.end());
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {{"ms", times[times.size() / 2]},
          {"best_ms", times[0]},
          {"peak_bytes", int64_t{1024} * usage.ru_maxrss},
          {"allocations", allocations}};
}

// What a command printed: its JSON object (null when there was none), and the last line that was
// not JSON.
struct Outcome {
  Json result;
  std::string last_line;
};

Outcome run_command(const std::string& command) {
  Outcome outcome;
  std::FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return {nullptr, "cannot start a process"};
  std::array<char, 4096> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe)) {
    const std::string line(buffer.data(), std::strcspn(buffer.data(), "\n"));
    const Json j = Json::parse(line, nullptr, false);
    if (j.is_object()) {
      outcome.result = j;
    } else if (!line.empty()) {
      outcome.last_line = line;
    }
  }
  const int status = pclose(pipe);
  if (outcome.last_line.empty()) outcome.last_line = fmt::format("ended with status {}", status);
  return outcome;
}

Json run_torch(const Case& c, const Options& o, const std::string& form) {
  // Without these two, glibc gives large blocks back to the system after every step: up to three
  // times slower.
  const std::string tunables =
      "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold="
      "8589934592";
  const int steps = std::max(8, (o.steps > 0 ? o.steps : default_steps(c)) / 2);
  const Outcome outcome = run_command(fmt::format("{} {} {} {} {} {} {} {}", tunables,
                                                  quoted(o.python), quoted(o.script), c.network,
                                                  c.batch, o.threads, steps, quoted(form)));
  if (!outcome.result.is_null()) return outcome.result;
  return {{"form", form}, {"error", outcome.last_line}};
}

Json run_ours(const Case& c, const Options& o, const std::string& program) {
  const Outcome outcome = run_command(fmt::format("{} --child {} --threads {} --steps {}",
                                                  quoted(program), c.network, o.threads, o.steps));
  if (outcome.result.is_null()) {
    throw HALFTONE_ERROR("bench_train")
        .expected("a result of the measuring process")
        .found(outcome.last_line);
  }
  return outcome.result;
}

Json compare(const Case& c, const Options& o, const std::string& program) {
  const Json first = run_ours(c, o, program);
  Json torch = Json::array();
  for (const std::string& form : o.forms) torch.push_back(run_torch(c, o, form));
  const Json second = run_ours(c, o, program);
  const double ours = (first["ms"].get<double>() + second["ms"].get<double>()) / 2;
  Json row = {{"network", c.network},
              {"batch", c.batch},
              {"threads", o.threads},
              {"ms_per_step", ours},
              {"images_per_second", 1000.0 * c.batch / ours},
              {"peak_bytes", first["peak_bytes"]},
              {"allocations_in_steady_state", second["allocations"]},
              {"torch", torch}};
  const Json* fastest = nullptr;
  for (const Json& t : torch) {
    if (t.contains("ms") && (!fastest || t["ms"] < (*fastest)["ms"])) fastest = &t;
  }
  if (fastest) {
    row["torch_ms"] = (*fastest)["ms"], row["torch_form"] = (*fastest)["form"],
    row["torch_peak_bytes"] = (*fastest)["peak_bytes"];
    row["ratio"] = (*fastest)["ms"].get<double>() / ours;
  }
  return row;
}

void print_header() {
  fmt::print("{:<10} {:>5} {:>10} {:>10} {:>9} {:>8}   {:>10} {:>9} {:<22} {:>6}\n", "network",
             "batch", "ms/step", "images/s", "peak MB", "allocs", "torch ms", "peak MB",
             "fastest form", "ratio");
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

void print_row(const Json& r) {
  fmt::print("{:<10} {:>5} {:>10.3f} {:>10.0f} {:>9.0f} {:>8}   ", r["network"].get<std::string>(),
             r["batch"].get<int>(), r["ms_per_step"].get<double>(),
             r["images_per_second"].get<double>(), r["peak_bytes"].get<double>() / 1e6,
             r["allocations_in_steady_state"].get<int64_t>());
  if (r.contains("ratio")) {
    fmt::print("{:>10.3f} {:>9.0f} {:<22} {:>5.2f}x\n", r["torch_ms"].get<double>(),
               r["torch_peak_bytes"].get<double>() / 1e6, r["torch_form"].get<std::string>(),
               r["ratio"].get<double>());
  } else {
    fmt::print("{:>10}\n", "-");
  }
  print_failures(r["torch"]);
  std::fflush(stdout);
}

bool wanted(const Case& c, const Options& o) {
  return o.networks.empty() ||
         std::find(o.networks.begin(), o.networks.end(), c.network) != o.networks.end();
}

int run(const Options& o, const std::string& program) {
  if (!o.json) print_header();
  Json rows = Json::array();
  for (const Case& c : kCases) {
    if (!wanted(c, o)) continue;
    rows.push_back(compare(c, o, program));
    if (!o.json) print_row(rows.back());
  }
  if (o.json) fmt::print("{}\n", Json{{"bench_train", rows}}.dump());
  return 0;
}

int run_child(const Options& o) {
  for (const Case& c : kCases) {
    if (c.network == o.child) fmt::print("{}\n", measure(c, o).dump());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Training steps per second beside PyTorch's fastest form, float32, in one run"};
  app.add_option("networks", o.networks, "lenet5, resnet20, bnn_vgg; none: all three");
  app.add_option("--threads", o.threads, "For both sides; 0: all cores");
  app.add_option("--steps", o.steps, "Measured steps; 0: 400, 30, 8");
  app.add_option("--python", o.python, "A Python that has torch")
      ->envname("HALFTONE_PYTHON")
      ->capture_default_str();
  app.add_option("--torch-script", o.script, "The PyTorch half")->capture_default_str();
  app.add_option("--forms", o.forms,
                 "Forms of PyTorch to try: eager, channels_last, compile, channels_last+compile");
  app.add_flag("--json", o.json, "One JSON object instead of the table");
  app.add_option("--child", o.child, "Measures one network, for the program itself")->group("");
  try {
    app.parse(argc, argv);
    if (o.threads == 0) o.threads = Context().threads();
    return o.child.empty() ? run(o, argv[0]) : run_child(o);
  } catch (const CLI::ParseError& e) {
    return app.exit(e);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_train: %s\n", e.what());
    return 1;
  }
}
