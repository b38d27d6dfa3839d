// Keys that would change nothing. Inside //quant only.
#pragma once

#include <map>
#include <nlohmann/json.hpp>

#include "quant/config.h"

namespace halftone {

// Throws for a key of another quantizer, naming those that have it, and for an unknown one.
void check_keys(const nlohmann::json& item, size_t number, const ConfigRules& rules);

// Throws for a key whose value nothing in its own entry uses: ema_decay without an observer "ema",
// axis without a scale per channel, any choice beside exclude: true. `specs` is what the entry
// says.
void check_effect(const nlohmann::json& item, size_t number,
                  const std::map<QuantType, QuantSpec>& specs);

}  // namespace halftone
