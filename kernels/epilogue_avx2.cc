// The loops of epilogue_bodies.h for AVX2.
#include <math.h>
#include <stdint.h>

#include "kernels/epilogue_bodies.h"

#pragma GCC target("avx2,fma")
#define HALFTONE_EPILOGUE_NAMESPACE epilogue_avx2
#include "kernels/epilogue_loops.h"

namespace halftone::kernels {

const EpilogueBodies& epilogue_bodies_avx2() { return epilogue_avx2::kBodies; }

}  // namespace halftone::kernels
