// The bodies behind products.h. Inside this folder.
#pragma once

#include "kernels/integer/products.h"

namespace halftone::integer {

extern const Body kScalarBody;
#if defined(__x86_64__)
extern const Body kAvx2Body, kAvx512Body;  // the latter without bits
void multiply_bits_avx512(const BitSlab& slab);
void pack_bits_avx512(const uint8_t* codes, int64_t pixels, int32_t channels, uint8_t* bits);
#endif

}  // namespace halftone::integer
