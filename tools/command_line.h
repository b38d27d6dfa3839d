// The subcommands of `halftone`. Each adds itself to the application; its callback sets the exit
// code.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "train/choose_device.h"

namespace halftone::tools {

// --device and --math of a subcommand.
struct DeviceWords {
  DeviceChoice choose() const { return choose_device(device, math); }
  std::string device = "cpu", math;
};
inline void add_device(CLI::App& command, DeviceWords& words) {
  command.add_option("--device", words.device,
                     "cpu (the default), cuda, cuda:N, or auto: cuda where there is a GPU");
  command.add_option(
      "--math", words.math,
      "On a GPU, what convolutions and products multiply: float32, tf32 or bfloat16, "
      "instead of the recipe's compute and backward");
}

void add_train(CLI::App& app, int& code);
void add_eval(CLI::App& app, int& code);
void add_quantize(CLI::App& app, int& code);
void add_import(CLI::App& app, int& code);
void add_inspect(CLI::App& app, int& code);
void add_export(CLI::App& app, int& code);
void add_verify(CLI::App& app, int& code);
void add_list(CLI::App& app, int& code);

}  // namespace halftone::tools
