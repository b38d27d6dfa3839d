// The bodies behind dot.h; null where the compiler's target has none.
#pragma once

#include "kernels/integer/dot.h"

namespace halftone::integer {

void dot_rows_scalar(const uint8_t* x, const int8_t* w, int32_t depth, int32_t rows, int32_t* acc);
#if defined(__x86_64__)
void dot_rows_avx2(const uint8_t* x, const int8_t* w, int32_t depth, int32_t rows, int32_t* acc);
void dot_rows_avx512(const uint8_t* x, const int8_t* w, int32_t depth, int32_t rows, int32_t* acc);
#endif

}  // namespace halftone::integer
