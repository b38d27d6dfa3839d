// Program files. All numbers little-endian; version 1:
//   "HALFTONE" | u32 version | u32 CRC-32 of the body | u64 bytes of the body | body
// A reader refuses files of a newer version. deploy/README.md lists the body's fields.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string>

#include "deploy/runtime/program.h"

namespace halftone::runtime {

constexpr uint32_t kProgramVersion = 2;  // 2: weights with zero points

std::string to_bytes(const Program& program);
// These two throw ProgramError, saying what is wrong, for anything but a whole, checked program;
// `where` is named in the message.
Program program_from_bytes(const void* data, size_t size, const std::string& where = "program");
Program load_program(const std::string& path);

}  // namespace halftone::runtime
