// Class names of the CIFAR sets, in label order, as their *.meta.txt files spell them.
#pragma once

#include <string>
#include <vector>

namespace halftone {

std::vector<std::string> cifar10_classes();
std::vector<std::string> cifar100_classes();         // the 100 fine classes
std::vector<std::string> cifar100_coarse_classes();  // the 20 super-classes

}  // namespace halftone
