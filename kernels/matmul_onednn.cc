#include "kernels/matmul_bodies.h"
#include "kernels/onednn_runtime.h"

namespace halftone::kernels {
namespace {

void multiply(const Context& context, const MatmulProblem& p, const float* a, const float* b,
              float* c) {
  const OneDnnThreads threads(context);
  const dnnl::status status =
      dnnl::sgemm(p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N', p.m, p.n, p.k, 1.0f, a,
                  p.transpose_a ? p.m : p.k, b, p.transpose_b ? p.k : p.n, p.beta, c, p.n);
  if (status != dnnl::status::success) {
    throw HALFTONE_ERROR("matmul").what_happened("oneDNN's sgemm failed with status " +
                                                 std::to_string(static_cast<int>(status)));
  }
}

}  // namespace

MatmulBody onednn_matmul() { return multiply; }

}  // namespace halftone::kernels
