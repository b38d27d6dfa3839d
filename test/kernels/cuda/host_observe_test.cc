// The bodies of the observers on the CPU.
#include "test/kernels/cuda/host_machine.h"
#include "test/kernels/cuda/observe_cases.h"

using namespace halftone::test;

TEST_CASE("device bodies: ranges, grids and histograms are the CPU's") {
  HostMachine machine;
  check_all_observers(machine, layouts());
}
