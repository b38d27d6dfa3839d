// Built in place of matmul_onednn.cc on a machine without oneDNN.
#include "kernels/matmul_bodies.h"

namespace halftone::kernels {

MatmulBody onednn_matmul() { return nullptr; }

}  // namespace halftone::kernels
