// The bodies of the CUDA kernels on the CPU: walks, heads, tails, channels, reductions.
#include "test/kernels/cuda/host_machine.h"
#include "test/kernels/cuda/lsq_cases.h"
#include "test/kernels/cuda/quantize_cases.h"

using namespace halftone;
using namespace halftone::test;

TEST_CASE("device bodies: fake quantization and codes are the CPU's, bit for bit") {
  HostMachine machine;
  check_all_quantize(machine, layouts());
}

TEST_CASE("device bodies: LSQ backward") {
  HostMachine machine;
  check_all_lsq(machine, layouts());
}

TEST_CASE("codes that do not fit are refused") {
  HostMachine machine;
  kernels::cuda::QuantizeArgs args;
  args.grids.qmax = 256;
  REQUIRE_THROWS_WITH(machine.run(args), Catch::Contains("codes that fit uint8"));
  args.grids.qmax = 128;
  args.code_dtype = DType::kInt8;
  REQUIRE_THROWS_WITH(machine.run(args), Catch::Contains("0 to 128"));
  args.code_dtype = DType::kInt32;
  REQUIRE_THROWS_WITH(machine.run(args), Catch::Contains("int32"));
}
