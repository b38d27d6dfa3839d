// Everything a program that uses Halftone needs, in one include.
#pragma once

#include "autograd/graph.h"
#include "autograd/ops.h"
#include "tensor/tensor.h"

#define HALFTONE_VERSION "0.1.0"
