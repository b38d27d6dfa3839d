#include "kernels/check.h"

namespace halftone::kernels {

void check_dtype(const char* op, const char* name, const Tensor& x, DType wanted) {
  if (x.dtype() == wanted) return;
  throw HALFTONE_ERROR(op)
      .expected(std::string(name) + " of type " + name_of(wanted))
      .found(name_of(x.dtype()));
}

void check_shape(const char* op, const char* name, const Tensor& x, const Shape& wanted) {
  if (x.shape() == wanted) return;
  throw HALFTONE_ERROR(op)
      .expected(std::string(name) + " of shape " + wanted.str())
      .found(x.shape().str());
}

void check_same(const char* op, const Tensor& a, const Tensor& b) {
  check_dtype(op, "input", a, DType::kFloat32);
  check_dtype(op, "operand", b, DType::kFloat32);
  check_shape(op, "operand", b, a.shape());
}

void check_rank(const char* op, const char* name, const Tensor& x, int rank) {
  if (x.rank() == rank) return;
  throw HALFTONE_ERROR(op)
      .expected(std::string(name) + " with " + std::to_string(rank) + " axes")
      .found(x.shape().str());
}

std::string nchw_text(const Shape& s) {
  if (s.rank() != 4) return s.str();
  return Shape{s[0], s[3], s[1], s[2]}.str();
}

}  // namespace halftone::kernels
