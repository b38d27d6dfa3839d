// //test:gpu_tests: every kernel on the GPU against the CPU. [quick] is for compute-sanitizer.
#include "test/catch_skip.h"
#include "test/kernels/cuda/augment_cases.h"
#include "test/kernels/cuda/chain_cases.h"
#include "test/kernels/cuda/elementwise_cases.h"
#include "test/kernels/cuda/gpu_machine.h"
#include "test/kernels/cuda/host_machine.h"
#include "test/kernels/cuda/loss_cases.h"
#include "test/kernels/cuda/lsq_cases.h"
#include "test/kernels/cuda/map_cases.h"
#include "test/kernels/cuda/norm_cases.h"
#include "test/kernels/cuda/observe_cases.h"
#include "test/kernels/cuda/pool_cases.h"
#include "test/kernels/cuda/quantize_cases.h"
#include "test/kernels/cuda/train_cases.h"
#include "test/kernels/cuda/weight_cases.h"

using namespace halftone;
using namespace halftone::test;

#define NEED_GPU()                                              \
  const std::string reason = halftone::cuda::unusable_reason(); \
  if (!reason.empty()) HALFTONE_SKIP(reason)

namespace {

void check_whole_networks(GpuMachine& machine) {
  check_all_elementwise(machine);
  check_all_norms(machine);
  check_all_pools(machine);
  check_all_losses(machine);
  check_all_weights(machine);
  check_all_chain_constants(machine);
  check_all_augment(machine);
}

}  // namespace

TEST_CASE("GPU: fake quantization and codes are the CPU's, bit for bit") {
  NEED_GPU();
  GpuMachine machine;
  check_all_quantize(machine, layouts());
}

TEST_CASE("GPU: LSQ backward, the same in every run") {
  NEED_GPU();
  GpuMachine machine;
  check_all_lsq(machine, layouts());
}

TEST_CASE("GPU: LSQ's sums have the bits of the same body on the CPU") {
  NEED_GPU();
  GpuMachine gpu;
  HostMachine host;
  for_lsq_cases(layouts(), [&](const LsqCase& c) {
    if (c.layout.numel() > 10000) return;  // the host takes long
    const LsqResult a = check_lsq_backward<float>(gpu, c), b = check_lsq_backward<float>(host, c);
    require_same_bits(a.dscale, b.dscale);
    require_same_bits(a.doffset, b.doffset);
  });
}

TEST_CASE("GPU: signs and DoReFa are the CPU's, bit for bit") {
  NEED_GPU();
  GpuMachine machine;
  check_all_maps(machine);
}

TEST_CASE("GPU: epilogues and optimizer steps are the CPU's, bit for bit") {
  NEED_GPU();
  GpuMachine machine;
  check_all_training(machine);
}

TEST_CASE("GPU: ranges, grids and histograms are the CPU's") {
  NEED_GPU();
  GpuMachine machine;
  check_all_observers(machine, layouts());
}

TEST_CASE("GPU: what whole networks train with") {
  NEED_GPU();
  GpuMachine machine;
  check_whole_networks(machine);
}

TEST_CASE("GPU: some of everything", "[quick]") {
  NEED_GPU();
  GpuMachine machine;
  check_all_quantize(machine, few_layouts());
  check_all_lsq(machine, few_layouts());
  check_all_observers(machine, few_layouts());
  check_all_maps(machine);
  check_all_training(machine);
  check_whole_networks(machine);
}

TEST_CASE("GPU: more than 2^31 elements") {
  NEED_GPU();
  constexpr int64_t kCount = (int64_t{1} << 31) + 4099;
  size_t free_bytes = 0, total = 0;
  HALFTONE_CUDA(cudaMemGetInfo(&free_bytes, &total));
  if (free_bytes < size_t{3} * kCount + (size_t{1} << 28)) {
    HALFTONE_SKIP("less than 7 GB of device memory is free");
  }
  GpuMachine machine;
  BFloat16* x = machine.room<BFloat16>(kCount);
  HALFTONE_CUDA(cudaMemset(x, 0x3f, kCount * 2));  // 0x3f3f: 0.74609375
  const BFloat16 two(2.0f);
  const std::vector<int64_t> marks = {0, 4095, (int64_t{1} << 31) - 1, int64_t{1} << 31,
                                      kCount - 1};
  for (const int64_t i : marks) HALFTONE_CUDA(cudaMemcpy(x + i, &two, 2, cudaMemcpyHostToDevice));
  kernels::cuda::QuantizeArgs args;
  args.layout = {1, 1, kCount};
  args.dtype = DType::kBFloat16;
  args.grids.scale = machine.put(std::vector<float>{0.25f});
  args.x = x;
  uint8_t* codes = machine.room<uint8_t>(kCount);
  HALFTONE_CUDA(cudaMemset(codes, 0xff, kCount));
  args.codes = codes;
  machine.run(args);
  std::vector<uint8_t> want(kCount, 3);
  for (const int64_t i : marks) want[i] = 8;
  require_same_bits(machine.get(codes, kCount), want);
}

TEST_CASE("GPU: a failing call is named") {
  NEED_GPU();
  REQUIRE_THROWS_WITH(halftone::cuda::Memory(size_t{1} << 50),
                      Catch::Contains("out of memory for a block of 1125899906842624 bytes"));
  REQUIRE_THROWS_WITH(HALFTONE_CUDA(cudaSetDevice(9999)),
                      Catch::Contains("cudaSetDevice(9999) failed"));
}
