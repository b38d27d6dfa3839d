// The operation of one chain. Inside //deploy only.
#pragma once

#include "deploy/runtime/program.h"
#include "quant/chain.h"

namespace halftone {

// A convolution of the program, and its result's grid. `from`: the value that it reads, whose codes
// lie on `grid`. For a Linear the window covers all of `from`, and the columns are those of its
// layout.
struct ChainOp {
  runtime::Op op;
  runtime::Value result;  // without shape
};
ChainOp compile_chain(const Chain& chain, const runtime::Value& from, const QuantParams& grid);

}  // namespace halftone
