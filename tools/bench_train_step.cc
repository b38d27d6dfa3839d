#include "tools/bench_train_step.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "autograd/ops.h"
#include "nn/fuse.h"
#include "nn/optimizer.h"
#include "nn/zoo/zoo.h"
#include "quant/quantizer.h"
#include "tensor/memory.h"
#include "tensor/nearest.h"
#include "train/step_graph.h"

namespace halftone::tools {
namespace {

using Json = nlohmann::ordered_json;

struct Configuration {
  std::string name, quantizer;  // its registered name
  std::string config_list;      // FIRST, LAST: names of the network's layers
};

const std::vector<Configuration>& configurations() {
  static const std::vector<Configuration> all = {
      {"qat8", "QAT_Quantizer",
       R"([{"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d", "Linear"],
            "quant_dtype": {"weight": "int", "input": "uint"},
            "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"}}])"},
      {"lsq4", "LsqQuantizer",
       R"([{"quant_types": ["weight", "input"], "quant_bits": 4,
            "op_types": ["Conv2d", "Linear"]}])"},
      {"dorefa_w1a2g4", "DoReFaQuantizer",  // all but the first and the last layer, as the paper
       R"([{"quant_types": ["weight", "input", "gradient"], "op_types": ["Conv2d", "Linear"],
            "quant_bits": {"weight": 1, "input": 2, "gradient": 4}},
           {"exclude": true, "op_names": ["FIRST", "LAST"]}])"},
      {"bnn", "BNNQuantizer",  // images enter as they are
       R"([{"quant_types": ["weight", "input"], "quant_bits": 1, "op_types": ["Conv2d", "Linear"]},
           {"quant_types": ["weight"], "quant_bits": 1, "op_names": ["FIRST"]}])"},
      {"naive8", "NaiveQuantizer",
       R"([{"quant_types": ["weight"], "quant_bits": 8, "op_types": ["Conv2d", "Linear"]}])"}};
  return all;
}

const Configuration& configuration(const std::string& name) {
  for (const Configuration& c : configurations()) {
    if (c.name == name) return c;
  }
  throw_unknown_name("quantizer configuration", name, bench_quantizers());
}

std::string config_list_for(const Configuration& c, const BenchNetwork& network) {
  std::string text = c.config_list;
  for (const auto& [word, layer] : {std::pair("FIRST", network.first), {"LAST", network.last}}) {
    const size_t at = text.find(word);
    if (at != std::string::npos) text.replace(at, std::string(word).size(), layer);
  }
  return text;
}

class Step {
 public:
  Step(const Context& context, const BenchNetwork& network, const std::string& quantizer)
      : context_(context),
        model_(make_model(network.name, context, ModelOptions{10, network.variant, {}})) {
    fill_batch(network.batch);
    store_ = std::make_unique<ParameterStore>(*model_.module);
    optimizer_ = make_optimizer(*store_, {});
    const Tensor dummy = Tensor::zeros(context, model_.batch_shape(1));
    if (quantizer == "float") {
      fuse_layers(*model_.module, trace(*model_.module, Variable(dummy)));
    } else {
      const Configuration& c = configuration(quantizer);
      quantizer_ = make_quantizer(c.quantizer, *model_.module, config_list_for(c, network),
                                  optimizer_.get(), dummy);
      quantizer_->compress();
    }
    model_->train();
    graph_ = std::make_unique<StepGraph>(*model_.module, true);  // knows all buffers that are there
  }

  void run() {
    if (!context_.on_cpu()) return run_on_device();
    optimizer_->zero_grad();
    {
      const MemoryStep memory(context_.memory(), "step");
      cross_entropy((*model_.module)(Variable(batch_.images)), batch_.labels).backward();
    }
    optimizer_->step();
  }
  int64_t recorded() const { return graph_->launches(); }

  // What the quantizer leaves on the float path, with its reasons.
  Json float_layers() const {
    return quantizer_ == nullptr ? Json::object() : Json(quantizer_->float_layers());
  }

 private:
  void fill_batch(int64_t size) {
    const Context host = context_.host();
    Tensor images = Tensor::empty(host, model_.batch_shape(size));
    Tensor labels = Tensor::empty(host, {size}, DType::kInt64);
    const Philox random{1, 0};
    for (int64_t i = 0; i < images.numel(); ++i)
      images.data<float>()[i] = random.normal(static_cast<uint64_t>(i));
    for (int64_t i = 0; i < size; ++i)
      labels.data<int64_t>()[i] = static_cast<int64_t>(random.below(static_cast<uint64_t>(i), 10));
    batch_.images = images.to(context_), batch_.labels = labels.to(context_);
  }
  // As train/trainer.cc makes them.
  void run_on_device() {
    const auto work = [this](const Batch& batch) {
      optimizer_->zero_grad();
      const Variable logits = (*model_.module)(Variable(batch.images));
      Variable loss = cross_entropy(logits, batch.labels);
      const StepOutputs out{logits.value(), loss.value()};
      loss.backward();
      return out;
    };
    graph_->run(step_key(batch_, quantizer_.get()), batch_, work, optimizer_.get());
  }

  Context context_;
  Model model_;
  Batch batch_;
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Quantizer> quantizer_;
  std::unique_ptr<StepGraph> graph_;
};

// Of a step, the mean of `count`.
double run_milliseconds(Step& step, const Context& context, int count) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) step.run();
  if (!context.on_cpu()) context.runtime()->synchronize();
  const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
  return taken.count() / count;
}

int64_t peak_bytes(const Context& context) {
  if (!context.on_cpu()) return static_cast<int64_t>(context.memory().stats().peak_bytes);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{1024} * usage.ru_maxrss;
}

constexpr int kBlocks = 5;  // of steps, on a device

}  // namespace

const std::vector<BenchNetwork>& bench_networks() {
  static const std::vector<BenchNetwork> all = {
      {"lenet5", "plain", 64, 400, "conv1", "fc3"},
      {"resnet20", "", 128, 30, "conv1", "linear"},
      {"bnn_vgg", "pool_last", 64, 8, "features.0", "classifier.6"}};
  return all;
}

const BenchNetwork& bench_network(const std::string& name) {
  std::vector<std::string> names;
  for (const BenchNetwork& network : bench_networks()) {
    if (network.name == name) return network;
    names.push_back(network.name);
  }
  throw_unknown_name("network", name, names);
}

std::vector<std::string> bench_quantizers() {
  std::vector<std::string> names = {"float"};
  for (const Configuration& c : configurations()) names.push_back(c.name);
  return names;
}

Json measure_steps(const BenchRequest& request) {
  BenchNetwork network = bench_network(request.network);
  if (request.batch > 0) network.batch = request.batch;
  if (request.steps > 0) network.steps = request.steps;
  const Context context = request.device.context(request.threads, 0);
  Step step(context, network, request.quantizer);
  // Past first ranges and scales, and until the plan of memory repeats; of a device, until steps
  // are recorded.
  const int warm_up = context.on_cpu() ? 4 : 8;
  for (int i = 0; i < warm_up; ++i) step.run();
  const uint64_t before = context.memory().stats().heap_allocations;
  const int64_t recorded = step.recorded();
  const int block = context.on_cpu() ? 1 : std::max(1, network.steps / kBlocks);
  std::vector<double> times(static_cast<size_t>(std::max(1, network.steps / block)));
  for (double& time : times) time = run_milliseconds(step, context, block);
  const uint64_t allocations = context.memory().stats().heap_allocations - before;
  std::sort(times.begin(), times.end());
  Json result = {{"ms", times[times.size() / 2]},
                 {"best_ms", times[0]},
                 {"peak_bytes", peak_bytes(context)},
                 {"allocations", allocations},
                 {"float_layers", step.float_layers()}};
  if (!context.on_cpu()) result["recorded"] = step.recorded() - recorded;
  return result;
}

}  // namespace halftone::tools
