// Everything that a run needs to go on as if it had never stopped, in one safetensors file.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "data/loader.h"
#include "tensor/safetensors.h"

namespace halftone {

// Sums since the last row of metrics.
struct Window {
  double loss = 0;  // sum over steps
  int64_t steps = 0, correct = 0, images = 0;
  double seconds = 0;  // of it, before this process
};

struct Checkpoint {
  std::map<std::string, Tensor>
      model;  // state_dict, quantizers included: PyTorch's names and layouts
  std::map<std::string, Tensor> optimizer;  // flat states
  std::string recipe;                       // YAML, complete
  int64_t step = 0;                         // optimizer steps done
  int64_t steps_per_epoch = 0;
  LoaderState loader;  // of the next batch
  RandomState random;
  Window window;
  int threads = 1;     // sums depend on it
  double seconds = 0;  // of training so far
  bool finished = false;
};

// In the file: "model.NAME", "optimizer.NAME", and the rest as one JSON object in the metadata.
void save_checkpoint(const std::string& path, const Checkpoint& checkpoint);
// Throws Error when the file is no checkpoint, is of a newer version, or lacks a field.
Checkpoint load_checkpoint(const Context& context, const std::string& path);
// The recipe alone; no tensor is read.
std::string load_checkpoint_recipe(const std::string& path);
// Of a file that is read already; `path` is for messages.
Checkpoint to_checkpoint(TensorFile file, const std::string& path);
// True for a safetensors file that save_checkpoint wrote, false for any other safetensors file.
bool is_checkpoint(const TensorFile& file);

}  // namespace halftone
