#include "quant/average.h"

#include "kernels/integer/code_ops.h"
#include "kernels/parallel.h"
#include "kernels/pool.h"

namespace halftone {
namespace {

bool moves_only(const std::string& op) { return op == "flatten" || op == "reshape"; }

// The averaging that a layer reads, through operations with one reader; null where there is none.
AdaptiveAvgPool2d* average_before(Module& model, const Graph& graph, const std::string& layer) {
  int node = graph.only_node(layer);
  while (node >= 0) {
    const int before = graph.producer(graph.nodes()[node].inputs.at(0));
    if (before < 0 || graph.only_consumer(before) != node) return nullptr;
    const GraphNode& made = graph.nodes()[before];
    Module* module = model.find(made.module_path);
    if (module == nullptr || module->output_transform() ||
        graph.only_node(made.module_path) != before)
      return nullptr;
    auto* pool = dynamic_cast<AdaptiveAvgPool2d*>(module);
    if (pool != nullptr) return pool->out_h() == 1 && pool->out_w() == 1 ? pool : nullptr;
    if (!moves_only(made.op)) return nullptr;
    node = before;
  }
  return nullptr;
}

// sum (q - z), int32 (N, C).
Tensor sums_of(const Codes& x) {
  const Shape& s = x.values.shape();
  const integer::Image image{static_cast<int32_t>(s[1]), static_cast<int32_t>(s[2]),
                             static_cast<int32_t>(s[3])};
  Tensor sums = Tensor::empty(x.values.context(), {s[0], s[3]}, DType::kInt32);
  const uint8_t* from = x.values.data<uint8_t>();
  int32_t* to = sums.data<int32_t>();
  parallel_for(x.values.context(), s[0], 1,
               [=, z = x.params.zero_point](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i)
                   integer::sum_pixels(from + i * image.size(), image, z, to + i * image.channels);
               });
  return sums;
}

kernels::Channels repeated(float multiplier, int64_t channels) {
  return kernels::Channels(static_cast<size_t>(channels), quant_math::Channel{-1, 0, multiplier});
}

// The means as reals, one rounding from the exact ones.
Variable means_of(const Variable& x, const Tensor& sums) {
  const Shape& s = x.shape();
  const float unit = x.codes()->params.scale / static_cast<float>(s[1] * s[2]);
  Tensor y = Tensor::empty(sums.context(), sums.shape());
  kernels::epilogue_to_float(sums, repeated(unit, s[3]), -INFINITY, INFINITY, y);
  auto backward = [](const Tensor& dy, GradSink& sink) {
    kernels::adaptive_avg_pool2d_backward(dy, sink.out(0));
  };
  return make_result({"adaptive_avg_pool2d", {x}, std::move(backward)},
                     y.reshape({s[0], 1, 1, s[3]}));
}

// The means' codes, straight from the sums.
Variable codes_of(const FakeQuantize& q, const Variable& x, const Tensor& sums) {
  const QuantParams y = q.params();
  const Shape& s = x.shape();
  const float z = static_cast<float>(y.zero_point);
  const kernels::CodeRange range{y.qmin - z, y.qmax - z, y.zero_point};
  const float multiplier = average_multiplier(x.codes()->params, y, s[1] * s[2]);
  Tensor codes = Tensor::empty(sums.context(), sums.shape(), DType::kUInt8);
  kernels::epilogue_to_codes(sums, repeated(multiplier, s[3]), range, codes);
  return make_result({"quant_average", {x}, {}}, Codes{codes.reshape({s[0], 1, 1, s[3]}), y});
}

Variable run_average(const Average& average, const std::vector<Variable>& inputs) {
  average.tree->check();
  const FakeQuantize& q = *average.output;
  const Variable& x = inputs.at(0);
  if (x.codes() == nullptr || x.shape().rank() != 4) return average.pool->forward(inputs);
  const Tensor sums = sums_of(*x.codes());
  const bool ends_in_codes = !average.pool->training() && q.will_quantize();
  return ends_in_codes ? codes_of(q, x, sums) : means_of(x, sums);
}

}  // namespace

float average_multiplier(const QuantParams& x, const QuantParams& y, int64_t pixels) {
  return x.scale / (y.scale * static_cast<float>(pixels));
}

std::vector<AveragePtr> find_averages(Module& model, const Graph& graph,
                                      const std::vector<ChainPtr>& chains) {
  std::vector<AveragePtr> list;
  for (const ChainPtr& chain : chains) {
    if (chain->input == nullptr || !chain->input->fits_epilogue() || chain->input->is_sign())
      continue;
    auto* pool = average_before(model, graph, chain->anchor->path());
    if (pool == nullptr) continue;
    list.push_back(std::make_shared<Average>());
    list.back()->pool = pool;
    list.back()->output = chain->input;
  }
  return list;
}

void install(const AveragePtr& average) {
  average->pool->set_executor([average](Module&, const std::vector<Variable>& inputs) {
    return run_average(*average, inputs);
  });
}

}  // namespace halftone
