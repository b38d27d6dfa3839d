#include "kernels/integer/dot.h"

#include "kernels/integer/dot_bodies.h"

namespace halftone::integer {
namespace {

std::vector<Body> runnable() {
  std::vector<Body> list = {{"scalar", dot_rows_scalar}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) list.push_back({"avx2", dot_rows_avx2});
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni"))
    list.push_back({"avx512-vnni", dot_rows_avx512});
#endif
  return list;
}

}  // namespace

void dot_rows_scalar(const uint8_t* x, const int8_t* w, int32_t depth, int32_t rows, int32_t* acc) {
  for (int32_t r = 0; r < rows; ++r, w += depth) {
    uint32_t sum = 0;
    for (int32_t k = 0; k < depth; ++k) sum += static_cast<uint32_t>(int32_t{x[k]} * int32_t{w[k]});
    acc[r] = static_cast<int32_t>(sum);
  }
}

const std::vector<Body>& bodies() {
  static const std::vector<Body> list = runnable();
  return list;
}

}  // namespace halftone::integer
