// matmul.h on a CUDA device by cuBLASLt: float32 (or TF32, bfloat16 operands where the Context says
// so), bias in the product's epilogue.
#include <array>
#include <map>

#include "kernels/column_sums.h"
#include "kernels/cublas_api.h"
#include "kernels/device_call.h"
#include "kernels/elementwise.h"
#include "kernels/kernel_cache.h"
#include "kernels/matmul.h"
#include "kernels/matmul_bodies.h"
#include "kernels/matmul_shapes.h"
#include "tensor/cuda.h"

namespace halftone::kernels {
namespace {

constexpr size_t kWorkspace = size_t{32} << 20;  // what NVIDIA advises for Hopper

struct Layout {
  Layout(cudaDataType_t type, int64_t rows, int64_t columns) {
    HALFTONE_CUBLAS(cublasLtMatrixLayoutCreate(&value, type, static_cast<uint64_t>(rows),
                                               static_cast<uint64_t>(columns), rows));
  }
  ~Layout() { cublas().cublasLtMatrixLayoutDestroy(value); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  cublasLtMatrixLayout_t value = nullptr;
};

// Row-major c (m, n) = op(a) op(b) is column-major c^T (n, m) = op(b)^T op(a)^T: cuBLAS's A is b,
// its B is a, neither moved.
struct ProductPlan {
  ProductPlan(cublasLtHandle_t handle, const MatmulProblem& p, bool has_bias, DeviceMath math)
      : type(math == DeviceMath::kBFloat16 ? CUDA_R_16BF : CUDA_R_32F),
        b(type, p.transpose_b ? p.k : p.n, p.transpose_b ? p.n : p.k),
        a(type, p.transpose_a ? p.m : p.k, p.transpose_a ? p.k : p.m),
        c(CUDA_R_32F, p.n, p.m) {
    const auto compute =
        math == DeviceMath::kTf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    HALFTONE_CUBLAS(cublasLtMatmulDescCreate(&product, compute, CUDA_R_32F));
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (has_bias) set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    find_algorithm(handle);
  }
  ~ProductPlan() {
    if (product != nullptr) cublas().cublasLtMatmulDescDestroy(product);
  }
  ProductPlan(const ProductPlan&) = delete;
  ProductPlan& operator=(const ProductPlan&) = delete;

  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, Value value) {
    HALFTONE_CUBLAS(cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof value));
  }

  void find_algorithm(cublasLtHandle_t handle) {
    cublasLtMatmulPreference_t wish = nullptr;
    HALFTONE_CUBLAS(cublasLtMatmulPreferenceCreate(&wish));
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    const size_t workspace = kWorkspace;
    cublas().cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                  &workspace, sizeof workspace);
    const uint32_t alignment = 16;  // memory of pools and parameters: 64, slices of either: less
    for (const auto operand :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      cublas().cublasLtMatmulPreferenceSetAttribute(wish, operand, &alignment, sizeof alignment);
    }
    const cublasStatus_t status = cublas().cublasLtMatmulAlgoGetHeuristic(
        handle, product, b.value, a.value, c.value, c.value, wish, 1, &found, &count);
    cublas().cublasLtMatmulPreferenceDestroy(wish);
    check_cublas(status, "cublasLtMatmulAlgoGetHeuristic", __FILE__, __LINE__);
    if (count == 0) {
      throw HALFTONE_ERROR("matmul").expected("an algorithm of cuBLASLt").found("none");
    }
    algorithm = found.algo;
  }

  const cudaDataType_t type;
  Layout b, a, c;
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
};

struct ProductCache {
  using Key = std::array<int64_t, 7>;
  ProductCache() { HALFTONE_CUBLAS(cublasLtCreate(&handle)); }
  ~ProductCache() { cublas().cublasLtDestroy(handle); }
  ProductCache(const ProductCache&) = delete;
  ProductCache& operator=(const ProductCache&) = delete;

  ProductPlan& plan(const MatmulProblem& p, bool has_bias, DeviceMath math) {
    auto& plan =
        plans[{p.m, p.n, p.k, p.transpose_a, p.transpose_b, has_bias, static_cast<int64_t>(math)}];
    if (plan == nullptr) plan = std::make_unique<ProductPlan>(handle, p, has_bias, math);
    return *plan;
  }

  cublasLtHandle_t handle = nullptr;
  std::map<Key, std::unique_ptr<ProductPlan>> plans;
};

void multiply(const MatmulProblem& p, DeviceMath math, const Tensor& a, const Tensor& b,
              const Tensor* bias, Tensor& c) {
  if (p.m == 0 || p.n == 0) return;
  const Context& context = c.context();
  for (const Tensor* t : {&a, &b, bias, static_cast<const Tensor*>(&c)}) {
    if (t != nullptr) check_on_device(*t, context, DType::kFloat32);
  }
  if (p.k == 0) {  // an empty sum
    p.beta == 0.0f ? c.fill(0.0f) : scale(c, p.beta, c);
    return;
  }
  ProductCache& cache = KernelCache::get<ProductCache>(context);
  ProductPlan& plan = cache.plan(p, bias != nullptr, math);
  if (bias != nullptr) plan.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias->raw());
  const bool half = math == DeviceMath::kBFloat16;
  const Tensor left = half ? a.to(DType::kBFloat16) : a, right = half ? b.to(DType::kBFloat16) : b;
  halftone::cuda::Stream& stream = stream_of(c);
  const float one = 1.0f;
  HALFTONE_CUBLAS(cublasLtMatmul(cache.handle, plan.product, &one, right.raw(), plan.b.value,
                                 left.raw(), plan.a.value, &p.beta, c.raw(), plan.c.value, c.raw(),
                                 plan.c.value, &plan.algorithm, stream.scratch(kWorkspace),
                                 kWorkspace, stream.get()));
}

void matmul_body(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, float beta,
                 Tensor& c) {
  multiply(matmul_problem(a, transpose_a, b, transpose_b, beta, c), a.context().math(), a, b,
           nullptr, c);
}

void linear_body(const Tensor& x, const Tensor& w, const Tensor* bias, Tensor& y) {
  multiply({x.dim(0), w.dim(0), x.dim(1), false, true, 0.0f}, x.context().math(), x, w, bias, y);
}

void linear_data_body(const Tensor& dy, const Tensor& w, Tensor& dx) {
  multiply({dx.dim(0), dx.dim(1), w.dim(0), false, false, 0.0f}, dy.context().backward_math(), dy,
           w, nullptr, dx);
}

void linear_weight_body(const Tensor& x, const Tensor& dy, Tensor& dw, Tensor* dbias) {
  multiply({dw.dim(0), dw.dim(1), x.dim(0), true, false, 0.0f}, x.context().backward_math(), dy, x,
           nullptr, dw);
  if (dbias != nullptr) column_sums(dy, *dbias);
}

[[maybe_unused]] const bool registered = [] {
  device_body<& matmul> = matmul_body;
  device_body<& linear> = linear_body;
  device_body<& linear_backward_data> = linear_data_body;
  device_body<& linear_backward_weight> = linear_weight_body;
  return true;
}();

}  // namespace
}  // namespace halftone::kernels
