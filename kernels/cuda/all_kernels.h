// Every kernel that runs on a device: K(name, Args) each.
#pragma once

#include "kernels/activation_cuda.h"
#include "kernels/augment_cuda.h"
#include "kernels/batch_norm_cuda.h"
#include "kernels/binary_cuda.h"
#include "kernels/chain_cuda.h"
#include "kernels/codes_cuda.h"
#include "kernels/dorefa_cuda.h"
#include "kernels/elementwise_cuda.h"
#include "kernels/epilogue_cuda.h"
#include "kernels/loss_cuda.h"
#include "kernels/observe_cuda.h"
#include "kernels/optimizer_cuda.h"
#include "kernels/pool_cuda.h"
#include "kernels/quantize_cuda.h"
#include "kernels/weights_cuda.h"

#define HALFTONE_ALL_KERNELS(K)   \
  HALFTONE_ACTIVATION_KERNELS(K)  \
  HALFTONE_ADAM_KERNELS(K)        \
  HALFTONE_AUGMENT_KERNELS(K)     \
  HALFTONE_BATCH_NORM_KERNELS(K)  \
  HALFTONE_BINARY_KERNELS(K)      \
  HALFTONE_CHAIN_KERNELS(K)       \
  HALFTONE_CODES_KERNELS(K)       \
  HALFTONE_DOREFA_KERNELS(K)      \
  HALFTONE_ELEMENTWISE_KERNELS(K) \
  HALFTONE_EPILOGUE_KERNELS(K)    \
  HALFTONE_LOSS_KERNELS(K)        \
  HALFTONE_LSQ_KERNELS(K)         \
  HALFTONE_OBSERVE_KERNELS(K)     \
  HALFTONE_POOL_KERNELS(K)        \
  HALFTONE_QUANTIZE_KERNELS(K)    \
  HALFTONE_SGD_KERNELS(K)         \
  HALFTONE_WEIGHT_KERNELS(K)
