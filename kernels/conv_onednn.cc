// Convolutions by oneDNN: NHWC activations, weights reordered into the layout it prefers.
// Only direct and matrix-product algorithms: Winograd would not be exact on integers.
#include <array>
#include <map>
#include <memory>

#include "kernels/conv_bodies.h"
#include "kernels/onednn_runtime.h"

namespace halftone::kernels {
namespace {

using dnnl::algorithm;
using dnnl::memory;
using Tag = memory::format_tag;
using Dims = memory::dims;

enum class Op : int64_t { kForward, kForwardBias, kData, kWeight, kWeightBias };

// One convolution of one shape, ready to run. `w` differs from `user_w` when a reorder stands
// between them (into `w` before the primitive, out of it after a weight gradient).
struct Plan {
  dnnl::primitive run, reorder;
  memory x, y, w, user_w, bias, scratchpad;
  std::unordered_map<int, memory> args, reorder_args;
};

struct Descs {
  memory::desc x, y, w_any, w_user, bias;
  Dims strides, dilates, pads;
};

memory::desc f32(const Dims& dims, Tag tag) { return {dims, memory::data_type::f32, tag}; }

Descs describe(const ConvGeometry& g) {
  const Conv2dOptions& o = g.options;
  const bool grouped = o.groups > 1;
  const Dims w = grouped ? Dims{o.groups, g.og(), g.cg, g.kh, g.kw} : Dims{g.o, g.c, g.kh, g.kw};
  Descs d;
  d.x = f32({g.n, g.c, g.h, g.w}, Tag::nhwc);
  d.y = f32({g.n, g.o, g.oh, g.ow}, Tag::nhwc);
  d.w_any = f32(w, Tag::any);
  d.w_user = f32(w, grouped ? Tag::gohwi : Tag::ohwi);
  d.bias = f32({g.o}, Tag::a);
  d.strides = {o.stride_h, o.stride_w};
  d.dilates = {o.dilation_h - 1, o.dilation_w - 1};
  d.pads = {o.pad_h, o.pad_w};
  return d;
}

dnnl::convolution_forward::primitive_desc forward_desc(const Descs& d, bool with_bias,
                                                       const dnnl::primitive_attr& attr,
                                                       const dnnl::engine& engine) {
  const memory::desc bias = with_bias ? d.bias : memory::desc();
  return {{dnnl::prop_kind::forward_training, algorithm::convolution_direct, d.x, d.w_any, bias,
           d.y, d.strides, d.dilates, d.pads, d.pads},
          attr,
          engine};
}

// False when oneDNN has nothing but its own reference loops for the shape.
template <class PrimitiveDesc>
bool is_fast(const PrimitiveDesc& desc) {
  return std::string(desc.impl_info_str()).rfind("ref", 0) != 0;
}

template <class Primitive, class PrimitiveDesc>
std::unique_ptr<Plan> make_plan(const Descs& d, const PrimitiveDesc& desc,
                                const memory::desc& weight, bool weight_is_result,
                                const dnnl::engine& engine) {
  if (!is_fast(desc)) return nullptr;
  auto plan = std::make_unique<Plan>();
  plan->run = Primitive(desc);
  plan->x = unbound(d.x, engine);
  plan->y = unbound(d.y, engine);
  plan->bias = unbound(d.bias, engine);
  plan->user_w = unbound(d.w_user, engine);
  plan->w = weight == d.w_user ? plan->user_w : unbound(weight, engine);
  plan->scratchpad = unbound(desc.scratchpad_desc(), engine);
  plan->args[DNNL_ARG_SCRATCHPAD] = plan->scratchpad;
  if (weight != d.w_user) {
    const memory &from = weight_is_result ? plan->w : plan->user_w,
                 &to = weight_is_result ? plan->user_w : plan->w;
    plan->reorder = dnnl::reorder(from, to);
    plan->reorder_args = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
  }
  return plan;
}

std::unique_ptr<Plan> build(Op op, const ConvGeometry& g, const dnnl::engine& engine) {
  const Descs d = describe(g);
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const bool with_bias = op == Op::kForwardBias || op == Op::kWeightBias;
  const auto hint = forward_desc(d, with_bias, attr, engine);
  std::unique_ptr<Plan> plan;
  if (op == Op::kForward || op == Op::kForwardBias) {
    plan = make_plan<dnnl::convolution_forward>(d, hint, hint.weights_desc(), false, engine);
    if (!plan) return plan;
    plan->args.insert(
        {{DNNL_ARG_SRC, plan->x}, {DNNL_ARG_WEIGHTS, plan->w}, {DNNL_ARG_DST, plan->y}});
    if (with_bias) plan->args.insert({DNNL_ARG_BIAS, plan->bias});
  } else if (op == Op::kData) {
    const dnnl::convolution_backward_data::primitive_desc desc(
        {algorithm::convolution_direct, d.x, d.w_any, d.y, d.strides, d.dilates, d.pads, d.pads},
        attr, engine, hint);
    plan = make_plan<dnnl::convolution_backward_data>(d, desc, desc.weights_desc(), false, engine);
    if (!plan) return plan;
    plan->args.insert(
        {{DNNL_ARG_DIFF_SRC, plan->x}, {DNNL_ARG_WEIGHTS, plan->w}, {DNNL_ARG_DIFF_DST, plan->y}});
  } else {
    const memory::desc bias = with_bias ? d.bias : memory::desc();
    const dnnl::convolution_backward_weights::primitive_desc desc(
        {algorithm::convolution_direct, d.x, d.w_any, bias, d.y, d.strides, d.dilates, d.pads,
         d.pads},
        attr, engine, hint);
    plan = make_plan<dnnl::convolution_backward_weights>(d, desc, desc.diff_weights_desc(), true,
                                                         engine);
    if (!plan) return plan;
    plan->args.insert(
        {{DNNL_ARG_SRC, plan->x}, {DNNL_ARG_DIFF_WEIGHTS, plan->w}, {DNNL_ARG_DIFF_DST, plan->y}});
    if (with_bias) plan->args.insert({DNNL_ARG_DIFF_BIAS, plan->bias});
  }
  return plan;
}

using Key = std::array<int64_t, 18>;

Key key_of(Op op, const ConvGeometry& g) {
  const Conv2dOptions& o = g.options;
  return {static_cast<int64_t>(op),
          g.n,
          g.h,
          g.w,
          g.c,
          g.o,
          g.kh,
          g.kw,
          g.oh,
          g.ow,
          o.stride_h,
          o.stride_w,
          o.pad_h,
          o.pad_w,
          o.groups,
          o.dilation_h,
          o.dilation_w,
          0};
}

struct ConvPlans {
  std::map<Key, std::unique_ptr<Plan>> plans;  // null: oneDNN has no fast body for the shape
};

Plan* plan_for(Op op, const ConvGeometry& g, const Context& context) {
  auto& plans = KernelCache::get<ConvPlans>(context).plans;
  const Key key = key_of(op, g);
  auto found = plans.find(key);
  if (found == plans.end()) {
    found = plans.emplace(key, build(op, g, OneDnnRuntime::of(context).engine)).first;
  }
  return found->second.get();
}

// Runs the plan on x, y and w; `weight_is_result` says on which side the reorder goes.
void execute(Plan& plan, const Context& context, const void* x, const void* y, const void* w,
             const void* bias, bool weight_is_result) {
  dnnl::stream& stream = OneDnnRuntime::of(context).stream;
  const bool reorders = static_cast<bool>(plan.reorder);
  Tensor pad = scratch(context, plan.scratchpad.get_desc().get_size());
  Tensor packed = scratch(context, reorders ? plan.w.get_desc().get_size() : 0);
  point(plan.x, x);
  point(plan.y, y);
  point(plan.bias, bias);
  point(plan.user_w, w);
  point(plan.scratchpad, pad.raw());
  if (reorders) point(plan.w, packed.raw());
  if (reorders && !weight_is_result) plan.reorder.execute(stream, plan.reorder_args);
  plan.run.execute(stream, plan.args);
  if (reorders && weight_is_result) plan.reorder.execute(stream, plan.reorder_args);
  stream.wait();
}

void forward(const ConvGeometry& g, const Tensor& x, const Tensor& w, const Tensor* bias,
             Tensor& y) {
  const OneDnnThreads threads(x.context());
  Plan* plan = plan_for(bias == nullptr ? Op::kForward : Op::kForwardBias, g, x.context());
  if (plan == nullptr) return portable_conv().forward(g, x, w, bias, y);
  execute(*plan, x.context(), x.raw(), y.raw(), w.raw(), bias == nullptr ? nullptr : bias->raw(),
          false);
}

void backward_data(const ConvGeometry& g, const Tensor& dy, const Tensor& w, Tensor& dx) {
  const OneDnnThreads threads(dy.context());
  Plan* plan = plan_for(Op::kData, g, dy.context());
  if (plan == nullptr) return portable_conv().backward_data(g, dy, w, dx);
  execute(*plan, dy.context(), dx.raw(), dy.raw(), w.raw(), nullptr, false);
}

void backward_weight(const ConvGeometry& g, const Tensor& x, const Tensor& dy, Tensor& dw,
                     Tensor* dbias) {
  const OneDnnThreads threads(x.context());
  Plan* plan = plan_for(dbias == nullptr ? Op::kWeight : Op::kWeightBias, g, x.context());
  if (plan == nullptr) return portable_conv().backward_weight(g, x, dy, dw, dbias);
  execute(*plan, x.context(), x.raw(), dy.raw(), dw.raw(),
          dbias == nullptr ? nullptr : dbias->raw(), true);
}

}  // namespace

const ConvBodies* onednn_conv() {
  static const ConvBodies bodies{forward, backward_data, backward_weight};
  return &bodies;
}

}  // namespace halftone::kernels
