// A program as one C header: weights, integer graph, golden hashes.
#pragma once

#include <string>

#include "deploy/runtime/program.h"

namespace halftone {

struct CHeader {
  std::string text;
  int64_t constant_bytes = 0;  // weights, tables, biases, multipliers: what goes to flash
  int64_t buffer_bytes = 0;    // codes of the tensors that live together
};

// C99 (also C++) without allocation, files or a library but memcpy and memset. Codes and logits are
// those of the engine, with floating point or, under <NAME>_NO_FLOAT, without any: logits are then
// the bits of binary32 numbers. `golden` generated images are run by the engine; <NAME>_self_test()
// runs them again and compares the hash of every tensor. Names begin with program.network, as far
// as C allows. Throws runtime::ProgramError for a program that cannot run.
CHeader to_c_header(const runtime::Program& program, int golden = 4);

}  // namespace halftone
