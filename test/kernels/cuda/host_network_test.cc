// What whole networks train with: the bodies on the CPU, a fiber per thread.
#include "test/kernels/cuda/augment_cases.h"
#include "test/kernels/cuda/chain_cases.h"
#include "test/kernels/cuda/elementwise_cases.h"
#include "test/kernels/cuda/host_machine.h"
#include "test/kernels/cuda/loss_cases.h"
#include "test/kernels/cuda/norm_cases.h"
#include "test/kernels/cuda/pool_cases.h"
#include "test/kernels/cuda/weight_cases.h"

using namespace halftone::test;

TEST_CASE("CUDA bodies on the CPU: sums, layouts, activations, dropout") {
  HostMachine machine;
  check_all_elementwise(machine);
}

TEST_CASE("CUDA bodies on the CPU: batch norm") {
  HostMachine machine;
  check_all_norms(machine);
}

TEST_CASE("CUDA bodies on the CPU: pooling") {
  HostMachine machine;
  check_all_pools(machine);
}

TEST_CASE("CUDA bodies on the CPU: softmax and losses") {
  HostMachine machine;
  check_all_losses(machine);
}

TEST_CASE("CUDA bodies on the CPU: scaled signs, and all weights at once") {
  HostMachine machine;
  check_all_weights(machine);
}

TEST_CASE("CUDA bodies on the CPU: constants of layers on codes") {
  HostMachine machine;
  check_all_chain_constants(machine);
}

TEST_CASE("CUDA bodies on the CPU: batches from a data set") {
  HostMachine machine;
  check_all_augment(machine);
}
