// The bodies of the elementwise CUDA kernels on the CPU.
#include "test/kernels/cuda/host_machine.h"
#include "test/kernels/cuda/map_cases.h"
#include "test/kernels/cuda/train_cases.h"

using namespace halftone::test;

TEST_CASE("device bodies: signs and DoReFa are the CPU's, bit for bit") {
  HostMachine machine;
  check_all_maps(machine);
}

TEST_CASE("device bodies: epilogues and optimizer steps are the CPU's, bit for bit") {
  HostMachine machine;
  check_all_training(machine);
}
