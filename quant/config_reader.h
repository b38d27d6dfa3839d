// config_list as JSON text, checked key by key.
#pragma once

#include <string>
#include <vector>

#include "quant/config.h"

namespace halftone {

std::vector<ConfigEntry> read_config(const std::string& json, const ConfigRules& rules);

}  // namespace halftone
