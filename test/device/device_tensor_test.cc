// Tensors and memory of a device, on the device made of the CPU.
#include <catch2/catch.hpp>

#include "kernels/elementwise.h"
#include "tensor/memory.h"
#include "tensor/tensor.h"
#include "test/device/device_under_test.h"

using namespace halftone;
using Catch::Contains;

namespace {

Context device_context(uint64_t seed = 0) {
  ContextOptions options;
  options.device = {DeviceType::kCuda, 0};
  options.threads = 1;
  options.seed = seed;
  return Context(options);
}

}  // namespace

TEST_CASE("values go to a device and come back") {
  NEED_DEVICE();
  const Context device = device_context();
  const std::vector<float> values = {1.5f, -2.0f, 3.25f, 0.0f, 7.0f, 8.0f};
  const Tensor t = Tensor::from(device, {3, 2}, values);
  REQUIRE(t.context() == device);
  REQUIRE(t.to_vector<float>() == values);
  REQUIRE(t.slice(1, 2).to_vector<float>() == std::vector<float>{3.25f, 0.0f});
  REQUIRE(t.reshape({6}).to_vector<float>() == values);
  const Tensor copy = t.clone();
  REQUIRE_FALSE(copy.same_memory(t));
  REQUIRE(copy.to_vector<float>() == values);
  const Tensor home = t.to(device.host());
  REQUIRE(home.data<float>()[4] == 7.0f);
  REQUIRE(home.to(device).to_vector<float>() == values);
  REQUIRE(t.to(device).same_memory(t));
}

TEST_CASE("fills, zeros, single elements and conversions on a device") {
  NEED_DEVICE();
  const Context device = device_context();
  for (const DType type : {DType::kFloat32, DType::kBFloat16, DType::kInt8, DType::kUInt8,
                           DType::kInt32, DType::kInt64}) {
    Tensor t = Tensor::zeros(device, {5}, type);
    t.slice(1, 4).fill(3.0f);
    REQUIRE(t.to(DType::kFloat32).to_vector<float>() == std::vector<float>{0, 3, 3, 3, 0});
  }
  REQUIRE(Tensor::full(device, {}, 2.5f).item<float>() == 2.5f);
  const Tensor half = Tensor::from(device, {2}, std::vector<float>{1.00390625f, -3.0f});
  REQUIRE(half.to(DType::kBFloat16).to(DType::kFloat32).to_vector<float>() ==
          half.to(device.host()).to(DType::kBFloat16).to(DType::kFloat32).to_vector<float>());
  REQUIRE(half.to(DType::kInt32).to_vector<int32_t>() == std::vector<int32_t>{1, -3});
}

TEST_CASE("the host's CPU context shares threads and random state") {
  NEED_DEVICE();
  const Context device = device_context(5);
  REQUIRE(device.host().on_cpu());
  REQUIRE(device.host() == device.host());
  REQUIRE(device.host().host() == device.host());
  REQUIRE(device.host().random().stream().seed == 5);
  REQUIRE(device.random().next == 1);
  REQUIRE(Context().host().on_cpu());
}

TEST_CASE("values on a device are not for the host's pointers") {
  NEED_DEVICE();
  const Context device = device_context();
  const Tensor t = Tensor::zeros(device, {2, 3});
  REQUIRE_THROWS_WITH(t.data<float>(), Contains("found float32 [2, 3] on cuda:0"));
}

TEST_CASE("kernels refuse operands on two devices, and name what has no body there") {
  NEED_DEVICE();
  const Context device = device_context();
  const Tensor here = Tensor::zeros(device.host(), {4}), there = Tensor::zeros(device, {4});
  Tensor y = Tensor::empty(device, {4});
  REQUIRE_THROWS_WITH(kernels::add(there, here, y),
                      Contains("on cuda:0, found float32 [4] on cpu"));
}

TEST_CASE("a device's memory is kept, and replayed steps use one arena") {
  NEED_DEVICE();
  const Context device = device_context();
  MemoryPool& pool = device.memory();
  const auto step = [&] {
    const MemoryStep scope(pool, "step");
    Tensor a = Tensor::full(device, {1000}, 1.0f);
    Tensor b = Tensor::empty(device, {1000});
    kernels::scale(a, 3.0f, b);
    a = Tensor();
    Tensor c = Tensor::empty(device, {500});
    return b.to_vector<float>()[999];
  };
  for (int i = 0; i < 3; ++i) REQUIRE(step() == 3.0f);
  const MemoryStats before = pool.stats();
  const void* arena = pool.arena();
  for (int i = 0; i < 3; ++i) REQUIRE(step() == 3.0f);
  const MemoryStats after = pool.stats();
  REQUIRE(after.heap_allocations == before.heap_allocations);
  REQUIRE(after.replayed == before.replayed + 9);
  REQUIRE(after.departures == before.departures);
  REQUIRE(pool.arena() == arena);
}

TEST_CASE("a device without memory says how much was asked for") {
  NEED_DEVICE();
  const Context device = device_context();
  try {
    Tensor::empty(device, {int64_t{1} << 30});
    FAIL("no error");
  } catch (const Error& e) {
    REQUIRE(e.op() == kOutOfDeviceMemory);
    REQUIRE_THAT(e.what(), Contains("out of memory for a block of 4294967360 bytes") &&
                               Contains("1 GiB in all"));
  }
  // Kept blocks are given back before that.
  { const Tensor big = Tensor::empty(device, {150 << 20}); }
  REQUIRE_NOTHROW(Tensor::empty(device, {200 << 20}));
}
