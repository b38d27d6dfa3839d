// Built in place of conv_onednn.cc on a machine without oneDNN.
#include "kernels/conv_bodies.h"

namespace halftone::kernels {

const ConvBodies* onednn_conv() { return nullptr; }

}  // namespace halftone::kernels
