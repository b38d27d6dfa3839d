// The ten shapes of the generated colour set.
#pragma once

#include <string>
#include <vector>

namespace halftone {

// "disc", "square", ... in label order.
std::vector<std::string> colour_shape_names();

// Distance of (x, y) to the outline of a shape of about radius 1 about the origin, y down; negative
// inside. Exact or, inside corners of unions, a lower bound: good for soft edges.
float shape_distance(int shape, float x, float y);

}  // namespace halftone
