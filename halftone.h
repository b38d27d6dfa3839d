// Everything a program that uses Halftone needs, in one include.
#pragma once

#include "autograd/graph.h"
#include "autograd/ops.h"
#include "autograd/variable.h"
#include "nn/fuse.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "nn/layers_pool.h"
#include "nn/layers_shape.h"
#include "nn/losses.h"
#include "nn/optimizer.h"
#include "nn/parameter_store.h"
#include "nn/schedule.h"
#include "nn/sequential.h"
#include "nn/zoo/zoo.h"
#include "tensor/tensor.h"

#define HALFTONE_VERSION "0.1.0"
