// The keys of an entry of config_list, written into the specs of its types. Inside //quant only.
#pragma once

#include <map>

#include "quant/config.h"
#include "quant/config_field.h"

namespace halftone {

// quant_types: each with the algorithm's defaults.
std::map<QuantType, QuantSpec> base_specs(const ConfigField& f, const ConfigRules& rules);
// Any other key that says how; the rest is left alone. Throws on a value that is not allowed.
void read_spec_key(const ConfigField& f, const ConfigRules& rules,
                   std::map<QuantType, QuantSpec>& specs);
bool truth_of(const ConfigField& f);

}  // namespace halftone
