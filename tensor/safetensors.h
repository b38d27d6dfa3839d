// Named-tensor files in the safetensors format, with PyTorch's names and layouts.
#pragma once

#include <map>
#include <string>

#include "tensor/tensor.h"

namespace halftone {

struct TensorFile {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

// Writes PATH.tmp-PID in the same folder, syncs it, renames it to PATH, syncs the folder.
// Throws Error (nothing left behind) when the folder is missing or unwritable or the disk is full.
void save_safetensors(const std::string& path, const TensorFile& file);

// Checks header length, JSON, dtypes, offsets (no hole, no overlap, full cover) and sizes before it
// reads a tensor; every fault is an Error that names the file, the tensor and what was found.
// F16 and F64 are read as float32, I16 as int32; a finite F64 beyond float32's range is a fault.
TensorFile load_safetensors(const Context& context, const std::string& path);
// Only the metadata: the same checks, and no tensor is read.
std::map<std::string, std::string> load_safetensors_metadata(const std::string& path);

}  // namespace halftone
