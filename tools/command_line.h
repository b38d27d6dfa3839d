// The subcommands of `halftone`. Each adds itself to the application; its callback sets the exit
// code.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace halftone::tools {

// --device of a subcommand; `words` is for train/choose_device.h.
inline void add_device(CLI::App& command, std::string& words) {
  command.add_option("--device", words,
                     "cpu (the default), cuda, cuda:N, or auto: cuda where there is a GPU");
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
