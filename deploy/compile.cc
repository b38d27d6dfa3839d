#include "deploy/compile.h"

#include <algorithm>
#include <map>

#include "deploy/code_values.h"
#include "deploy/compile_layer.h"
#include "quant/sum.h"

namespace halftone {
namespace {

using runtime::Op;
using runtime::OpKind;
using runtime::Value;

QuantParams params_of(const Value& v) { return {v.scale, v.zero_point, v.low, v.high}; }

void set_params(const QuantParams& p, Value& v) {
  v.scale = p.scale, v.zero_point = p.zero_point, v.low = p.qmin, v.high = p.qmax;
}

// (1, H, W, C) or (1, C) of the trace.
integer::Image image_of(const Shape& shape) {
  integer::Image image;
  image.channels = static_cast<int32_t>(shape.dim(-1));
  if (shape.rank() != 4) return image;
  image.height = static_cast<int32_t>(shape[1]), image.width = static_cast<int32_t>(shape[2]);
  return image;
}

integer::Window window_of(const Pool2dOptions& o) {
  integer::Window w;
  w.kernel_h = o.kernel_h, w.kernel_w = o.kernel_w;
  w.stride_h = o.stride_h, w.stride_w = o.stride_w;
  w.pad_h = o.pad_h, w.pad_w = o.pad_w;
  return w;
}

// Of the whole image at once, or of windows: a depthwise convolution of ones. Both make a code of
// sum (q - z).
Op average_op(const Pool2dOptions& windows, const integer::Image& image) {
  Op op;
  op.kind = OpKind::kAveragePool;
  op.channels.resize(1);
  if (windows.kernel_h == image.height && windows.kernel_w == image.width) return op;
  op.kind = OpKind::kConvolution;
  op.window = window_of(windows);
  op.groups = image.channels;
  op.channels.resize(static_cast<size_t>(image.channels));
  op.weights.bits = 1;
  op.weights.low = 1;  // and no step above it
  const int64_t bits = int64_t{1} * windows.kernel_h * windows.kernel_w * image.channels;
  op.weights.packed.assign(static_cast<size_t>((bits + 7) / 8), 0);
  return op;
}

// A quantizer as training knows it must quantize in evaluation too.
void check_ready(const FakeQuantize* q, const std::string& path) {
  if (q == nullptr || q->will_quantize()) return;
  refuse(path, q->warm_up() ? "its " + name_of(q->type()) + " quantizer still waits for step " +
                                  std::to_string(q->spec().start_step)
                            : "its " + name_of(q->type()) + " quantizer has seen no data");
}

bool is_elementwise(Module* module) {
  return dynamic_cast<ActivationLayer*>(module) != nullptr ||
         dynamic_cast<BatchNorm*>(module) != nullptr;
}

// Walks the graph in the order of its operations; every one of them adds to the program, or to what
// is known of a value.
class Compiler {
 public:
  Compiler(const Quantizer& quantizer, const ProgramSource& source)
      : q_(quantizer), graph_(*quantizer.graph()), source_(source) {
    for (const ChainPtr& chain : q_.chains()) add_chain_members(*chain);
    for (const SumPtr& sum : q_.sums()) {
      sums_[sum->add->path()] = sum.get();
      if (sum->activation != nullptr) passes_[sum->activation->path()] = true;
    }
    for (const AveragePtr& a : q_.averages()) averages_[a->pool->path()] = a.get();
  }

  CompiledProgram run() {
    check_layers();
    add_image();
    for (const GraphNode& node : graph_.nodes()) values_[node.output] = visit(node);
    const CodeValue& result = values_.at(graph_.output());
    finish(result);
    out_.program.network = source_.name;
    runtime::check_program(out_.program);
    return std::move(out_);
  }

 private:
  void add_chain_members(const Chain& chain) {
    chains_[chain.anchor->path()] = &chain;
    for (const Module* m : {static_cast<const Module*>(chain.pool.get()),
                            static_cast<const Module*>(chain.norm.get()),
                            static_cast<const Module*>(chain.activation.get())}) {
      if (m != nullptr) passes_[m->path()] = true;
    }
  }

  // All that training has on its float path, in one message. Elementwise steps may become tables.
  void check_layers() const {
    std::map<std::string, std::string> found;
    for (const auto& [path, why] : q_.float_layers()) {
      if (!is_elementwise(q_.model().find(path))) found[path] = why;
    }
    for (const GraphNode& node : graph_.nodes()) {
      if (node.call > 0) refuse(node.module_path, "it runs more than once");
      if (node.op != "conv2d" && node.op != "linear") continue;
      const std::string why = q_.integer_obstacle(node.module_path);
      if (!why.empty()) found[node.module_path] = why;
    }
    if (found.empty()) return;
    std::string list;
    for (const auto& [path, why] : found) list += (list.empty() ? "" : "; ") + path + ": " + why;
    throw HALFTONE_ERROR("export")
        .expected("an integer form of every layer")
        .found("layers on the float path, " + list)
        .fix("change quantizer.config_list and train again");
  }

  void add_image() {
    Value image;
    image.name = "image";
    image.shape.channels = static_cast<int32_t>(source_.input_shape[0]);
    image.shape.height = static_cast<int32_t>(source_.input_shape[1]);
    image.shape.width = static_cast<int32_t>(source_.input_shape[2]);
    out_.program.values.push_back(image);
    out_.modules.push_back("");
    CodeValue known;
    known.value = 0;
    values_[graph_.input()] = known;
  }

  const Value& value_of(const CodeValue& v) const { return out_.program.values.at(v.value); }

  // Appends an operation and its result.
  CodeValue add(Op op, Value result, const std::string& module) {
    op.output = static_cast<int32_t>(out_.program.values.size());
    CodeValue made;
    made.value = result.is_float ? -1 : op.output;
    made.why = "the output of " + module + " is not quantized";
    made.params = params_of(result);
    result.name = op.name;
    out_.program.ops.push_back(std::move(op));
    out_.program.values.push_back(std::move(result));
    out_.modules.push_back(module);
    return made;
  }

  // `in` as codes of `quantizer`, or, without one, as the codes that it holds or its last module
  // makes.
  CodeValue as_codes(const CodeValue& in, FakeQuantize* quantizer, const std::string& reader) {
    if (in.value < 0) refuse(reader, in.why);
    const bool image = in.value == 0;
    if (in.pending.empty() && quantizer == nullptr) {
      if (image) refuse(reader, "it reads the image, which is not quantized");
      return in;
    }
    check_ready(quantizer, reader);
    if (in.pending.empty() && !image && quantizer->params() == in.params) return in;
    const auto key = std::make_tuple(in.value, in.pending, quantizer);
    const auto known = tables_.find(key);
    if (known != tables_.end()) return known->second;
    const std::vector<float> none;
    const CodeTable table = tabulate(q_.model().context(), in, value_of(in).shape.channels,
                                     image ? source_.normalisation : none, quantizer);
    Op op;
    op.kind = OpKind::kTable;
    op.name = quantizer != nullptr ? reader + ".input" : in.pending.back()->path();
    op.inputs = {in.value};
    op.table = table.codes;
    Value result = value_of(in);
    set_params(table.params, result);
    const std::string module =
        quantizer != nullptr ? quantizer->path() : in.pending.back()->output_transform()->path();
    CodeValue made = add(std::move(op), std::move(result), module);
    made.flattened = in.flattened;
    return tables_[key] = made;
  }

  const CodeValue& input(const GraphNode& node, size_t i = 0) const {
    return values_.at(node.inputs.at(i));
  }

  CodeValue visit(const GraphNode& node) {
    const std::string& path = node.module_path;
    if (passes_.count(path)) return input(node);
    const auto chain = chains_.find(path);
    if (chain != chains_.end()) return add_chain(*chain->second, node);
    const auto sum = sums_.find(path);
    if (sum != sums_.end()) return add_sum(*sum->second, node);
    const auto average = averages_.find(path);
    if (average != averages_.end()) return add_average(*average->second, node);
    return transformed(node, move(node));
  }

  CodeValue add_chain(const Chain& chain, const GraphNode& node) {
    const std::string& path = node.module_path;
    check_ready(chain.weight.get(), path);
    check_ready(chain.output.get(), path);
    if (chain.output == nullptr && chain.tail().output_transform())
      refuse(path, "its output quantizer rounds reals, not accumulators");
    const CodeValue in = as_codes(input(node), chain.input.get(), path);
    ChainOp made = compile_chain(chain, value_of(in), in.params);
    made.op.inputs = {in.value};
    const int tail = graph_.only_node(chain.tail().path());
    made.result.shape = image_of(graph_.nodes()[tail].output_shape);
    return add(std::move(made.op), std::move(made.result), path);
  }

  CodeValue add_sum(const Sum& sum, const GraphNode& node) {
    const std::string& path = node.module_path;
    check_ready(sum.output.get(), path);
    const QuantParams y = sum.output->params();
    const CodeValue a = as_codes(input(node, 0), nullptr, path);
    const CodeValue b = as_codes(input(node, 1), nullptr, path);
    if (a.params.scale != y.scale || b.params.scale != y.scale)
      refuse(path, "its inputs and its output have different scales");
    const kernels::CodeSum rule = sum_rule(sum, a.params, b.params, y);
    Op op;
    op.kind = OpKind::kAdd;
    op.name = path;
    op.inputs = {a.value, b.value};
    op.low = static_cast<float>(rule.low);
    op.high = static_cast<float>(rule.high);
    if (a.flattened != b.flattened) refuse(path, "one of its inputs is behind Flatten");
    Value result = value_of(a);
    set_params(y, result);
    CodeValue made = add(std::move(op), std::move(result), path);
    made.flattened = a.flattened;
    return made;
  }

  CodeValue add_average(const Average& average, const GraphNode& node) {
    const std::string& path = node.module_path;
    check_ready(average.output.get(), path);
    const QuantParams y = average.output->params();
    const CodeValue in = as_codes(input(node), nullptr, path);
    const integer::Image image = value_of(in).shape;
    const auto windows =
        equal_windows(*average.pool, {1, image.height, image.width, image.channels});
    if (!windows.has_value()) refuse(path, "its windows do not all average as many values");
    const int64_t count = int64_t{1} * windows->kernel_h * windows->kernel_w;
    Op op = average_op(*windows, image);
    op.name = path;
    op.inputs = {in.value};
    op.pad_code = in.params.zero_point;
    for (runtime::OutputChannel& channel : op.channels)
      channel.multiplier = average_multiplier(in.params, y, count);
    op.low = static_cast<float>(y.qmin - y.zero_point);
    op.high = static_cast<float>(y.qmax - y.zero_point);
    Value result = moved(in, node);
    set_params(y, result);
    return add(std::move(op), std::move(result), path);
  }

  // Operations that move codes, and elementwise ones, which wait for a quantizer.
  CodeValue move(const GraphNode& node) {
    Module* module = q_.model().find(node.module_path);
    if (node.op == "concat") return add_concat(node);
    CodeValue in = input(node);
    if (in.value < 0) return in;
    if (is_elementwise(module)) {
      if (in.flattened && module->type_name() == "BatchNorm1d")
        refuse(node.module_path, "a batch norm behind Flatten");
      in.pending.push_back(module);
      return in;
    }
    in = as_codes(in, nullptr, node.module_path);
    if (node.op == "flatten") {
      in.flattened = int64_t{1} * value_of(in).shape.height * value_of(in).shape.width > 1;
      return in;
    }
    if (node.op == "max_pool2d") return add_max_pool(dynamic_cast<MaxPool2d&>(*module), in, node);
    if (node.op == "subsample_pad")
      return add_subsample_pad(dynamic_cast<SubsamplePad&>(*module), in, node);
    refuse(node.module_path, node.op + " has no integer form");
  }

  CodeValue add_max_pool(const MaxPool2d& pool, const CodeValue& in, const GraphNode& node) {
    if (pool.fused_activation.kind != Activation::kIdentity)
      refuse(node.module_path, "an activation is computed in the pooling");
    Op op;
    op.kind = OpKind::kMaxPool;
    op.name = node.module_path;
    op.inputs = {in.value};
    op.window = window_of(pool.options());
    return add(std::move(op), moved(in, node), node.module_path);
  }

  CodeValue add_subsample_pad(const SubsamplePad& pad, const CodeValue& in, const GraphNode& node) {
    Op op;
    op.kind = OpKind::kSubsamplePad;
    op.name = node.module_path;
    op.inputs = {in.value};
    op.window.stride_h = pad.args().stride;
    op.pad_before = pad.args().pad_before;
    return add(std::move(op), moved(in, node), node.module_path);
  }

  CodeValue add_concat(const GraphNode& node) {
    Op op;
    op.kind = OpKind::kConcat;
    op.name = node.module_path;
    CodeValue first;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const CodeValue in = as_codes(input(node, i), nullptr, node.module_path);
      if (i == 0) first = in;
      if (in.flattened) refuse(node.module_path, "a concatenation behind Flatten");
      if (!(in.params == first.params))
        refuse(node.module_path, "its inputs are not on one grid: quantize its output");
      op.inputs.push_back(in.value);
    }
    return add(std::move(op), moved(first, node), node.module_path);
  }

  Value moved(const CodeValue& in, const GraphNode& node) const {
    Value result = value_of(in);
    result.shape = image_of(node.output_shape);
    return result;
  }

  // A module's own output quantizer.
  CodeValue transformed(const GraphNode& node, CodeValue v) {
    Module* module = q_.model().find(node.module_path);
    if (module == nullptr || !module->output_transform() || v.value < 0) return v;
    auto* quantizer = dynamic_cast<FakeQuantize*>(module->output_transform().get());
    if (quantizer == nullptr) refuse(node.module_path, "its output goes through another module");
    check_ready(quantizer, node.module_path);
    // Running the last module runs its quantizer.
    return as_codes(v, v.pending.empty() ? quantizer : nullptr, node.module_path);
  }

  void finish(const CodeValue& result) {
    const size_t last = out_.program.values.size() - 1;
    const bool floats = out_.program.values[last].is_float;
    const std::string path = graph_.nodes()[graph_.producer(graph_.output())].module_path;
    if (!result.pending.empty() || (result.value < 0 && !floats))
      refuse(path, "a program ends with a layer's output, not with " +
                       q_.model().find(path)->type_name());
    if (result.flattened) refuse(path, "the network ends with Flatten");
    if (result.value >= 0 && result.value != static_cast<int32_t>(last))
      refuse(path, "the network's output is computed before its end");
  }

  const Quantizer& q_;
  const Graph& graph_;
  const ProgramSource& source_;
  std::map<std::string, const Chain*> chains_;  // by the anchor's path
  std::map<std::string, const Sum*> sums_;
  std::map<std::string, const Average*> averages_;
  std::map<std::string, bool> passes_;  // members behind an anchor or an Add
  std::map<int, CodeValue> values_;     // by the graph's value
  std::map<std::tuple<int32_t, std::vector<Module*>, FakeQuantize*>, CodeValue> tables_;
  CompiledProgram out_;
};

}  // namespace

CompiledProgram compile_program(const Quantizer& quantizer, const ProgramSource& source) {
  if (!quantizer.graph().has_value()) {
    throw HALFTONE_ERROR("export")
        .expected("a quantizer that was given a dummy input")
        .found("none: the graph of the network is not known");
  }
  const EvaluationMode mode(quantizer.model());
  const NoGrad no_grad;
  return Compiler(quantizer, source).run();
}

}  // namespace halftone
