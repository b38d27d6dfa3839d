// What an export says of each quantizer. Inside //quant only.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "quant/quantizer.h"

namespace halftone {

// bits, dtype, scheme, qmin, qmax, summary, rounding, state (the path of its state), initialised,
// and where they apply axis, fold (of the batch norm behind a weight) and padding_value.
nlohmann::json record_of(const FakeQuantize& q);

// The part of a record that its state depends on, in words; dtype: whether it counts.
std::string summary_of_record(const nlohmann::json& record, bool dtype);

// NNI's calibration keys of every point; code_ranges: tracked ranges and tracked_qmin, tracked_qmax
// of weights too, as NNI's ObserverQuantizer has them.
nlohmann::json calibration_of(const std::vector<QuantPoint>& points, bool code_ranges);

}  // namespace halftone
