// The cases, a file per family.
#pragma once

#include "test/golden/golden.h"

namespace halftone::golden {

std::vector<Case> grid_cases();         // G01, G09, G10
std::vector<Case> weight_cases();       // G02 to G05
std::vector<Case> activation_cases();   // G06, G07, G08, G12
std::vector<Case> fold_cases();         // G15_16
std::vector<Case> calibration_cases();  // G24, G17, G18
std::vector<Case> one_bit_cases();      // G19, G20
std::vector<Case> lsq_cases();          // G21_22, G22b
std::vector<Case> naive_cases();        // G23
std::vector<Case> training_cases();     // G25

}  // namespace halftone::golden
