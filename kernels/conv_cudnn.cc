// conv.h on a CUDA device by cuDNN: NHWC, float32 (or TF32, bfloat16 where the Context says so),
// deterministic algorithms only.
#include <array>
#include <limits>
#include <map>
#include <optional>

#include "kernels/column_sums.h"
#include "kernels/conv_geometry.h"
#include "kernels/cudnn_api.h"
#include "kernels/device_call.h"
#include "kernels/elementwise.h"
#include "kernels/kernel_cache.h"

namespace halftone::kernels {
namespace {

constexpr int kAlgorithms = 10;  // as many as heuristics may name

// A cuDNN descriptor with its owner.
template <class T, auto kCreate, auto kDestroy>
class Descriptor {
 public:
  Descriptor() { check_cudnn((cudnn().*kCreate)(&value_), "descriptor", __FILE__, __LINE__); }
  ~Descriptor() { (cudnn().*kDestroy)(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  T get() const { return value_; }

 private:
  T value_ = nullptr;
};
using TensorDescriptor = Descriptor<cudnnTensorDescriptor_t, &CudnnApi::cudnnCreateTensorDescriptor,
                                    &CudnnApi::cudnnDestroyTensorDescriptor>;
using FilterDescriptor = Descriptor<cudnnFilterDescriptor_t, &CudnnApi::cudnnCreateFilterDescriptor,
                                    &CudnnApi::cudnnDestroyFilterDescriptor>;
using ConvDescriptor =
    Descriptor<cudnnConvolutionDescriptor_t, &CudnnApi::cudnnCreateConvolutionDescriptor,
               &CudnnApi::cudnnDestroyConvolutionDescriptor>;

struct Handle {
  Handle() { HALFTONE_CUDNN(cudnnCreate(&value)); }
  ~Handle() { cudnn().cudnnDestroy(value); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  cudnnHandle_t value = nullptr;
};

template <class Algorithm>
struct Choice {
  Algorithm algorithm{};
  size_t workspace = 0;
};

// Sums of products as they stand: exact where the operands are small whole numbers.
bool direct(cudnnConvolutionFwdAlgo_t a) {
  return a != CUDNN_CONVOLUTION_FWD_ALGO_FFT && a != CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING &&
         a != CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD &&
         a != CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED;
}

constexpr size_t kWorkspace = size_t{256} << 20;  // more only where nothing else computes it

// The fastest that is deterministic, computes in the mode that was asked for or more exactly, and
// is allowed.
template <class Algorithm, class Performance, class Allowed>
Choice<Algorithm> choose(const char* op, const Performance* found, int count, cudnnMathType_t math,
                         const Allowed& allowed) {
  for (const size_t limit : {kWorkspace, std::numeric_limits<size_t>::max()}) {
    for (int i = 0; i < count; ++i) {
      const Performance& p = found[i];
      const bool mode =
          p.mathType == math || p.mathType == CUDNN_DEFAULT_MATH || p.mathType == CUDNN_FMA_MATH;
      if (p.status == CUDNN_STATUS_SUCCESS && p.determinism == CUDNN_DETERMINISTIC && mode &&
          p.memory <= limit && allowed(p.algo)) {
        return {p.algo, p.memory};
      }
    }
  }
  throw HALFTONE_ERROR(op)
      .expected("a deterministic algorithm of cuDNN for this convolution")
      .found("none");
}

int small(int64_t n) { return static_cast<int>(n); }

// One convolution's descriptors and, as they are first wanted, algorithms.
struct ConvPlan {
  ConvPlan(const ConvGeometry& g, DeviceMath math, ConvAlgorithm algorithm)
      : algorithm(algorithm),
        type(math == DeviceMath::kBFloat16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT),
        mode(math == DeviceMath::kFloat32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH) {
    const Conv2dOptions& o = g.options;
    set(x, g.n, g.c, g.h, g.w);
    set(y, g.n, g.o, g.oh, g.ow);
    set(bias, 1, g.o, 1, 1);
    HALFTONE_CUDNN(cudnnSetFilter4dDescriptor(w.get(), type, CUDNN_TENSOR_NHWC, small(g.o),
                                              small(g.cg), small(g.kh), small(g.kw)));
    HALFTONE_CUDNN(cudnnSetConvolution2dDescriptor(conv.get(), o.pad_h, o.pad_w, o.stride_h,
                                                   o.stride_w, o.dilation_h, o.dilation_w,
                                                   CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    HALFTONE_CUDNN(cudnnSetConvolutionGroupCount(conv.get(), o.groups));
    HALFTONE_CUDNN(cudnnSetConvolutionMathType(conv.get(), mode));
  }

  void set(const TensorDescriptor& d, int64_t n, int64_t c, int64_t h, int64_t width) const {
    HALFTONE_CUDNN(cudnnSetTensor4dDescriptor(d.get(), CUDNN_TENSOR_NHWC, type, small(n), small(c),
                                              small(h), small(width)));
  }

  const Choice<cudnnConvolutionFwdAlgo_t>& forward(cudnnHandle_t handle) {
    if (!forward_) {
      cudnnConvolutionFwdAlgoPerf_t found[kAlgorithms];
      int count = 0;
      HALFTONE_CUDNN(cudnnGetConvolutionForwardAlgorithm_v7(handle, x.get(), w.get(), conv.get(),
                                                            y.get(), kAlgorithms, &count, found));
      forward_ = choose<cudnnConvolutionFwdAlgo_t>("conv2d", found, count, mode, [this](auto a) {
        return algorithm == ConvAlgorithm::kAuto || direct(a);
      });
    }
    return *forward_;
  }
  const Choice<cudnnConvolutionBwdDataAlgo_t>& data(cudnnHandle_t handle) {
    if (!data_) {
      cudnnConvolutionBwdDataAlgoPerf_t found[kAlgorithms];
      int count = 0;
      HALFTONE_CUDNN(cudnnGetConvolutionBackwardDataAlgorithm_v7(
          handle, w.get(), y.get(), conv.get(), x.get(), kAlgorithms, &count, found));
      data_ = choose<cudnnConvolutionBwdDataAlgo_t>("conv2d_backward_data", found, count, mode,
                                                    [](auto) { return true; });
    }
    return *data_;
  }
  const Choice<cudnnConvolutionBwdFilterAlgo_t>& weight(cudnnHandle_t handle) {
    if (!weight_) {
      cudnnConvolutionBwdFilterAlgoPerf_t found[kAlgorithms];
      int count = 0;
      HALFTONE_CUDNN(cudnnGetConvolutionBackwardFilterAlgorithm_v7(
          handle, x.get(), y.get(), conv.get(), w.get(), kAlgorithms, &count, found));
      weight_ = choose<cudnnConvolutionBwdFilterAlgo_t>("conv2d_backward_weight", found, count,
                                                        mode, [](auto) { return true; });
    }
    return *weight_;
  }

  const ConvAlgorithm algorithm;
  const cudnnDataType_t type;
  const cudnnMathType_t mode;
  TensorDescriptor x, y, bias;
  FilterDescriptor w;
  ConvDescriptor conv;
  std::optional<Choice<cudnnConvolutionFwdAlgo_t>> forward_;  // these: once wanted
  std::optional<Choice<cudnnConvolutionBwdDataAlgo_t>> data_;
  std::optional<Choice<cudnnConvolutionBwdFilterAlgo_t>> weight_;
};

// Of one Context: cuDNN's handle, and a plan per convolution.
struct ConvCache {
  using Key = std::array<int64_t, 16>;
  ConvPlan& plan(const ConvGeometry& g, DeviceMath math, ConvAlgorithm algorithm) {
    const Conv2dOptions& o = g.options;
    const Key key = {g.n,
                     g.h,
                     g.w,
                     g.c,
                     g.o,
                     g.kh,
                     g.kw,
                     o.stride_h,
                     o.stride_w,
                     o.pad_h,
                     o.pad_w,
                     o.dilation_h,
                     o.dilation_w,
                     o.groups,
                     static_cast<int64_t>(math),
                     static_cast<int64_t>(algorithm)};
    auto& plan = plans[key];
    if (plan == nullptr) plan = std::make_unique<ConvPlan>(g, math, algorithm);
    return *plan;
  }
  Handle handle;
  std::map<Key, std::unique_ptr<ConvPlan>> plans;
};

// One call: the plan, the operands in the type that it computes in, and the stream's scratch.
class ConvCall {
 public:
  ConvCall(const char* op, const Shape& x, const Shape& w, const Conv2dOptions& options,
           const Tensor& on, DeviceMath math, ConvAlgorithm algorithm = ConvAlgorithm::kAuto)
      : context_(on.context()),
        cache_(KernelCache::get<ConvCache>(context_)),
        plan(cache_.plan(conv_geometry(op, x, w, options), math_of(math, algorithm), algorithm)),
        stream_(stream_of(on)) {
    HALFTONE_CUDNN(cudnnSetStream(cache_.handle.value, stream_.get()));
  }
  cudnnHandle_t handle() const { return cache_.handle.value; }
  void* scratch(size_t bytes) const { return stream_.scratch(bytes); }
  // `t` as cuDNN reads it: in bfloat16 a rounded copy.
  Tensor operand(const Tensor& t) const {
    check_on_device(t, context_, DType::kFloat32);
    return half() ? t.to(DType::kBFloat16) : t;
  }
  // Where cuDNN writes `t`; finish() brings it home.
  Tensor result(const Tensor& t) const {
    check_on_device(t, context_, DType::kFloat32);
    return half() ? Tensor::empty(context_, t.shape(), DType::kBFloat16) : t;
  }
  void finish(const Tensor& written, Tensor& t) const {
    if (half()) t.copy_from(written.to(DType::kFloat32));
  }

 private:
  // Direct sums are exact for whole numbers of 8 bits, which bfloat16's results would not be.
  static DeviceMath math_of(DeviceMath math, ConvAlgorithm algorithm) {
    const bool rounds = math == DeviceMath::kBFloat16;
    return rounds && algorithm == ConvAlgorithm::kDirect ? DeviceMath::kTf32 : math;
  }
  bool half() const { return plan.type == CUDNN_DATA_BFLOAT16; }
  const Context context_;
  ConvCache& cache_;

 public:
  ConvPlan& plan;

 private:
  halftone::cuda::Stream& stream_;
};

constexpr float kOne = 1.0f, kZero = 0.0f;

void conv_body(const Tensor& x, const Tensor& w, const Tensor* bias, const Conv2dOptions& options,
               Tensor& y, ConvAlgorithm algorithm) {
  const ConvCall call("conv2d", x.shape(), w.shape(), options, x, x.context().math(), algorithm);
  ConvPlan& p = call.plan;
  const auto& choice = p.forward(call.handle());
  const Tensor in = call.operand(x), weights = call.operand(w);
  Tensor out = call.result(y);
  HALFTONE_CUDNN(cudnnConvolutionForward(call.handle(), &kOne, p.x.get(), in.raw(), p.w.get(),
                                         weights.raw(), p.conv.get(), choice.algorithm,
                                         call.scratch(choice.workspace), choice.workspace, &kZero,
                                         p.y.get(), out.raw()));
  if (bias != nullptr) {
    const Tensor added = call.operand(*bias);
    HALFTONE_CUDNN(cudnnAddTensor(call.handle(), &kOne, p.bias.get(), added.raw(), &kOne, p.y.get(),
                                  out.raw()));
  }
  call.finish(out, y);
}

void data_body(const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& dx) {
  const ConvCall call("conv2d_backward_data", dx.shape(), w.shape(), options, dy,
                      dy.context().backward_math());
  ConvPlan& p = call.plan;
  const auto& choice = p.data(call.handle());
  const Tensor up = call.operand(dy), weights = call.operand(w);
  Tensor out = call.result(dx);
  HALFTONE_CUDNN(cudnnConvolutionBackwardData(call.handle(), &kOne, p.w.get(), weights.raw(),
                                              p.y.get(), up.raw(), p.conv.get(), choice.algorithm,
                                              call.scratch(choice.workspace), choice.workspace,
                                              &kZero, p.x.get(), out.raw()));
  call.finish(out, dx);
}

// conv.h promises the bits of a sum afterwards.
void add_data_body(const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& dx) {
  Tensor gradient = Tensor::empty(dx.context(), dx.shape());
  data_body(dy, w, options, gradient);
  accumulate(gradient, dx);
}

void weight_body(const Tensor& x, const Tensor& dy, const Conv2dOptions& options, Tensor& dw,
                 Tensor* dbias) {
  const ConvCall call("conv2d_backward_weight", x.shape(), dw.shape(), options, x,
                      x.context().backward_math());
  ConvPlan& p = call.plan;
  const auto& choice = p.weight(call.handle());
  const Tensor in = call.operand(x), up = call.operand(dy);
  Tensor out = call.result(dw);
  HALFTONE_CUDNN(cudnnConvolutionBackwardFilter(call.handle(), &kOne, p.x.get(), in.raw(),
                                                p.y.get(), up.raw(), p.conv.get(), choice.algorithm,
                                                call.scratch(choice.workspace), choice.workspace,
                                                &kZero, p.w.get(), out.raw()));
  call.finish(out, dw);
  if (dbias != nullptr) column_sums(dy, *dbias);
}

[[maybe_unused]] const bool registered = [] {
  device_body<& conv2d> = conv_body;
  device_body<& conv2d_backward_data> = data_body;
  device_body<& conv2d_add_backward_data> = add_data_body;
  device_body<& conv2d_backward_weight> = weight_body;
  return true;
}();

}  // namespace
}  // namespace halftone::kernels
