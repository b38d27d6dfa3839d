// The bodies of all_kernels.h: launch_NAME(launcher, args) each.
#pragma once

#include "kernels/cuda/activation.h"
#include "kernels/cuda/all_kernels.h"
#include "kernels/cuda/augment.h"
#include "kernels/cuda/batch_norm_backward.h"
#include "kernels/cuda/binary.h"
#include "kernels/cuda/chain.h"
#include "kernels/cuda/codes.h"
#include "kernels/cuda/dorefa.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/epilogue.h"
#include "kernels/cuda/loss.h"
#include "kernels/cuda/observe.h"
#include "kernels/cuda/optimizer.h"
#include "kernels/cuda/pool.h"
#include "kernels/cuda/quantize.h"
#include "kernels/cuda/weights.h"
