// The self-test of a C header. Inside this folder.
#pragma once

#include <string>

#include "deploy/runtime/program.h"

namespace halftone {

// Makes `count` images, runs the engine on them, and returns C: the hash of every tensor, and
// ht_self_test, which makes the same images.
std::string golden_text(const runtime::Program& program, int count);

}  // namespace halftone
