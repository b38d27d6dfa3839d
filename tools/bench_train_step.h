// What bench_train measures: steps of one network, float or quantized, in this process.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "train/choose_device.h"

namespace halftone::tools {

// The forms that bench_train_torch.py builds too.
struct BenchNetwork {
  std::string name, variant;
  int batch, steps;         // steps: measured ones, by default
  std::string first, last;  // its first and last layer with a weight
};
const std::vector<BenchNetwork>& bench_networks();
// Throws on an unknown name.
const BenchNetwork& bench_network(const std::string& name);

// "float", "qat8", "lsq4", "dorefa_w1a2g4", "bnn", "naive8".
std::vector<std::string> bench_quantizers();

struct BenchRequest {
  std::string network, quantizer = "float";
  int threads = 0, steps = 0, batch = 0;  // 0: all cores, the network's steps and batch
  DeviceChoice device;
};
// {"ms": median, "best_ms", "peak_bytes": resident set of the process, of a device the memory taken
// there, "allocations": calls to the system allocator in the measured steps}; a network that the
// quantizer leaves partly on floats has "float_layers" too, names and reasons. On a device steps
// are the trainer's, recorded where they can be ("recorded": how many), and so is their end: the
// host reads the loss; "ms" is then of blocks of steps, the device idle at the end of each.
nlohmann::ordered_json measure_steps(const BenchRequest& request);

}  // namespace halftone::tools
