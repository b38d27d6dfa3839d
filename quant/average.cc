#include "quant/average.h"

#include <algorithm>

#include "kernels/chain_cuda.h"
#include "kernels/codes_cuda.h"
#include "kernels/device_call.h"
#include "kernels/pool.h"

namespace halftone {
namespace {

bool moves_only(const std::string& op) { return op == "flatten" || op == "reshape"; }

bool averages(const Module* module) {
  return dynamic_cast<const AvgPool2d*>(module) != nullptr ||
         dynamic_cast<const AdaptiveAvgPool2d*>(module) != nullptr;
}

// The averaging that a layer reads, through operations with one reader; null where there is none.
Module* average_before(Module& model, const Graph& graph, const std::string& layer) {
  int node = graph.only_node(layer);
  while (node >= 0) {
    const int before = graph.producer(graph.nodes()[node].inputs.at(0));
    if (before < 0) return nullptr;
    const GraphNode& made = graph.nodes()[before];  // a Dropout behind it drops codes
    if (graph.consumers(made.output).size() != 1 || made.output == graph.output()) return nullptr;
    Module* module = model.find(made.module_path);
    if (module == nullptr || module->output_transform() ||
        graph.only_node(made.module_path) != before)
      return nullptr;
    if (averages(module)) return module;
    if (!moves_only(made.op)) return nullptr;
    node = before;
  }
  return nullptr;
}

Shape image_before(const Graph& graph, int node) {
  const int before = graph.producer(graph.nodes()[node].inputs.at(0));
  return before < 0 ? Shape{} : graph.nodes()[before].output_shape;
}

bool fits(const std::shared_ptr<FakeQuantize>& q) {
  return q != nullptr && q->emits_codes() && q->fits_epilogue() && !q->is_sign();
}

// int32, of the result's shape.
Tensor sums_of(const Codes& x, const Pool2dOptions& o) {
  Tensor sums = Tensor::empty(x.values.context(), pool2d_shape(x.values.shape(), o), DType::kInt32);
  if (!x.zero_point.defined()) {
    kernels::sum_code_windows(x.values, x.params.zero_point, o, sums);
    return sums;
  }
  kernels::cuda::CodeWindowsArgs a;
  a.g = kernels::pool_geometry(x.values, sums, o);
  a.codes = static_cast<const uint8_t*>(x.values.raw());
  a.sums = static_cast<int32_t*>(sums.raw());
  a.zero = static_cast<const int32_t*>(x.zero_point.raw());
  kernels::launch<&kernels::cuda::code_windows>(sums, a);
  return sums;
}

int64_t count_of(const Pool2dOptions& o) { return int64_t{1} * o.kernel_h * o.kernel_w; }

kernels::Channels repeated(float multiplier, int64_t channels) {
  return kernels::Channels(static_cast<size_t>(channels), quant_math::Channel{-1, 0, multiplier});
}

void write_means_on_device(const Codes& x, const Pool2dOptions& o, const Tensor& sums, Tensor& y) {
  namespace device = kernels::cuda;
  const int64_t channels = sums.dim(-1);
  kernels::DeviceRoom<quant_math::Channel> constants(sums.context(), channels);
  kernels::launch<&device::mean_channels>(
      sums, device::MeanChannelsArgs{channels, count_of(o),
                                     static_cast<const float*>(x.scale.raw()), constants.data()});
  device::EpilogueFloatArgs a;
  a.rows = kernels::rows_of(sums), a.channels = channels;
  a.acc = static_cast<const int32_t*>(sums.raw()), a.constants = constants.data();
  a.y = static_cast<float*>(y.raw());
  kernels::launch<&device::epilogue_to_float>(sums, a);
}

// The means as reals, one rounding from the exact ones.
Variable means_of(const Variable& x, const Pool2dOptions& o, const Tensor& sums) {
  Tensor y = Tensor::empty(sums.context(), sums.shape());
  if (x.codes()->scale.defined()) {
    write_means_on_device(*x.codes(), o, sums, y);
  } else {
    const float unit = x.codes()->params.scale / static_cast<float>(count_of(o));
    kernels::epilogue_to_float(sums, repeated(unit, sums.dim(-1)), -INFINITY, INFINITY, y);
  }
  auto backward = [o](const Tensor& dy, GradSink& sink) {
    kernels::avg_pool2d_backward(dy, o, sink.out(0));
  };
  return make_result({"quant_mean", {x}, std::move(backward)}, std::move(y));
}

// The means' codes, straight from the sums; the gradient is that of the quantized means.
Variable codes_of(const FakeQuantize& q, const Variable& x, const Pool2dOptions& o,
                  const Tensor& sums) {
  const QuantParams y = q.params();
  const float z = static_cast<float>(y.zero_point);
  const kernels::CodeRange range{y.qmin - z, y.qmax - z, y.zero_point};
  const float multiplier = average_multiplier(known(*x.codes()).params, y, count_of(o));
  if (q.watched()) q.show(means_of(x, o, sums).value());
  Tensor codes = Tensor::empty(sums.context(), sums.shape(), DType::kUInt8);
  kernels::epilogue_to_codes(sums, repeated(multiplier, sums.dim(-1)), range, codes);
  OpRecord record{"quant_average", {x}, {}};
  if (grad_enabled()) {
    record.inputs = {means_of(x, o, sums)};
    for (const Variable& v : q.learned()) record.inputs.push_back(v);
    record.backward = [means = record.inputs[0].value(), run = q.gradient(sums.shape())](
                          const Tensor& dy, GradSink& sink) { run(dy, means, sink, 0, 1); };
  }
  return make_result(std::move(record), Codes{std::move(codes), y});
}

Variable run_average(const Average& average, const std::vector<Variable>& inputs) {
  average.tree->check();
  const FakeQuantize& q = *average.output;
  const Variable& x = inputs.at(0);
  const auto windows = equal_windows(*average.pool, x.shape());
  if (x.codes() == nullptr || !windows.has_value()) return average.pool->forward(inputs);
  const Tensor sums = sums_of(*x.codes(), *windows);
  const bool ends_in_codes = !average.pool->training() && q.will_quantize();
  return ends_in_codes ? codes_of(q, x, *windows, sums) : means_of(x, *windows, sums);
}

}  // namespace

std::optional<Pool2dOptions> equal_windows(const Module& pool, const Shape& image) {
  if (image.rank() != 4) return std::nullopt;
  if (const auto* adaptive = dynamic_cast<const AdaptiveAvgPool2d*>(&pool)) {
    const int height = static_cast<int>(image[1]), width = static_cast<int>(image[2]);
    if (height % adaptive->out_h() != 0 || width % adaptive->out_w() != 0) return std::nullopt;
    Pool2dOptions o;
    o.kernel_h = o.stride_h = height / adaptive->out_h();
    o.kernel_w = o.stride_w = width / adaptive->out_w();
    return o;
  }
  const auto* average = dynamic_cast<const AvgPool2d*>(&pool);
  if (average == nullptr) return std::nullopt;
  Pool2dOptions o = average->options();
  const bool pads = o.pad_h > 0 || o.pad_w > 0;
  if (pads && !o.count_include_pad) return std::nullopt;
  if (o.ceil_mode) {
    o.ceil_mode = false;
    if (pool2d_shape(image, o) != pool2d_shape(image, average->options())) return std::nullopt;
  }
  return o;
}

float average_multiplier(const QuantParams& x, const QuantParams& y, int64_t count) {
  return x.scale / (y.scale * static_cast<float>(count));
}

std::vector<AveragePtr> find_averages(Module& model, const Graph& graph,
                                      const std::vector<ChainPtr>& chains,
                                      const OutputOf& output_of) {
  std::vector<AveragePtr> list;
  const auto add = [&](Module* pool, const std::shared_ptr<FakeQuantize>& output) {
    const int node = pool == nullptr ? -1 : graph.only_node(pool->path());
    if (node < 0 || !fits(output) || !equal_windows(*pool, image_before(graph, node))) return;
    list.push_back(std::make_shared<Average>());
    list.back()->pool = pool;
    list.back()->output = output;
  };
  for (auto& [path, module] : model.named_modules()) {
    if (averages(module) && !module->output_transform()) add(module, output_of(path));
  }
  for (const ChainPtr& chain : chains) {
    Module* pool = average_before(model, graph, chain->anchor->path());
    if (pool != nullptr && output_of(pool->path()) == nullptr) add(pool, chain->input);
  }
  return list;
}

void install(const AveragePtr& average) {
  average->pool->set_executor([average](Module&, const std::vector<Variable>& inputs) {
    return run_average(*average, inputs);
  });
}

}  // namespace halftone
