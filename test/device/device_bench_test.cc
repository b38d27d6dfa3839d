// What bench_train measures on a device: the trainer's steps, recorded.
#include <catch2/catch.hpp>

#include "test/device/device_under_test.h"
#include "tools/bench_train_step.h"

using namespace halftone;

TEST_CASE("bench_train's steps on a device are recorded ones") {
  NEED_DEVICE();
  for (const char* quantizer : {"float", "qat8", "lsq4", "bnn"}) {
    INFO(quantizer);
    tools::BenchRequest request{"lenet5", quantizer, 1, 5, 2, {}};
    request.device = Device{DeviceType::kCuda, 0};
    const auto result = tools::measure_steps(request);
    REQUIRE(result["recorded"] == 5);
    REQUIRE(result["allocations"] == 0);
    REQUIRE(result["peak_bytes"] > 0);
    request.device = Device{};
    REQUIRE_FALSE(tools::measure_steps(request).contains("recorded"));
  }
}
