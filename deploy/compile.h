// From a trained quantized network to the integer program that computes its evaluation, code for
// code.
#pragma once

#include <string>
#include <vector>

#include "deploy/runtime/program.h"
#include "quant/quantizer.h"

namespace halftone {

// What the quantizer does not know of the network.
struct ProgramSource {
  std::string name;
  Shape input_shape;  // (C, H, W)
  // What an image byte stands for, 256 values per channel: normalisation_table of data/augment.h.
  std::vector<float> normalisation;
};

struct CompiledProgram {
  runtime::Program program;
  // Per value of the program, the path of the module whose last operation makes it in evaluation.
  // "" for the image.
  std::vector<std::string> modules;
};

// Of a quantizer that was given a dummy input, trained, and whose model is unchanged since. Throws
// Error where the network has no integer form, naming every layer and the reason that training
// gave.
CompiledProgram compile_program(const Quantizer& quantizer, const ProgramSource& source);

}  // namespace halftone
