// Quantizers on a device: the CPU's ranges, scales and values, and no copy to or from the host.
#include <memory>

#include "quant/dorefa_quantize.h"
#include "quant/lsq_quantize.h"
#include "quant/range_quantize.h"
#include "test/device/both.h"
#include "test/device/device_under_test.h"

using namespace halftone;
using Catch::Contains;

namespace {

FakeQuantizeArgs args_of(QuantType type, ObserverKind observer = ObserverKind::kEma) {
  FakeQuantizeArgs args;
  args.type = type;
  args.spec.bits = 4;
  args.spec.observer = observer;
  if (type == QuantType::kWeight) {
    args.spec.is_signed = args.spec.symmetric = args.spec.per_channel = true;
    args.channels = 6;
  }
  return args;
}

void require_same_ranges(const FakeQuantize& a, const FakeQuantize& b) {
  const auto x = a.ranges(), y = b.ranges();
  REQUIRE(x.size() == y.size());
  for (size_t c = 0; c < x.size(); ++c) {
    REQUIRE(x[c].low == y[c].low);
    REQUIRE(x[c].high == y[c].high);
    REQUIRE(a.grids(2).list[c].scale == b.grids(2).list[c].scale);
    REQUIRE(a.grids(2).list[c].zero_point == b.grids(2).list[c].zero_point);
  }
}

// Values and gradients of a few training steps; steps 2 and on stay on the device.
template <class Make>
void check_steps(const test::Both& b, Make make) {
  const std::shared_ptr<FakeQuantize> here = make(b.home()), there = make(b.device());
  test::Both inputs;
  for (int64_t step = 1; step < 5; ++step) {
    INFO("step " << step);
    const Tensor x = inputs.in({6, 50}, step), dy = inputs.in({6, 50}, 10 + step);
    Variable in(x, true), moved(b.there(x), true);
    const Tensor upstream = b.there(dy);
    here->set_steps(step), there->set_steps(step);
    const uint64_t before = b.device().runtime()->host_copies();
    Variable y = (*here)(in), got = (*there)(moved);
    y.backward(dy);
    got.backward(upstream);
    here->after_step(), there->after_step();
    if (step > 1) REQUIRE(b.device().runtime()->host_copies() == before);
    REQUIRE(got.value().to_vector<float>() == y.value().to_vector<float>());
    REQUIRE(moved.grad().to_vector<float>() == in.grad().to_vector<float>());
    require_same_ranges(*here, *there);
  }
}

}  // namespace

TEST_CASE("quantizers on a device track ranges and learned scales without the host") {
  NEED_DEVICE();
  const test::Both b;
  for (const QuantType type : {QuantType::kInput, QuantType::kWeight}) {
    for (const ObserverKind observer : {ObserverKind::kEma, ObserverKind::kMinMax}) {
      check_steps(
          b, [&](const Context& c) { return make<RangeQuantize>(c, args_of(type, observer)); });
    }
    check_steps(b, [&](const Context& c) {
      FakeQuantizeArgs args = args_of(type);
      args.spec.symmetric = args.spec.is_signed = true;
      return make<LsqQuantize>(c, args);
    });
  }
  check_steps(b,
              [](const Context& c) { return make<DorefaQuantize>(c, args_of(QuantType::kInput)); });
}

TEST_CASE("what a device saw that was not finite is said when the host looks") {
  NEED_DEVICE();
  const test::Both b;
  const auto q = make<RangeQuantize>(b.device(), args_of(QuantType::kInput));
  const auto see = [&](int64_t step, float value) {
    q->set_steps(step);
    (*q)(Variable(b.there(Tensor::from(b.home(), {2}, std::vector<float>{-0.5f, value}))));
  };
  see(1, 1.0f);
  see(2, NAN);
  REQUIRE(q->ranges()[0].high == 1.0f);
  see(3, 2.0f);
  REQUIRE(q->ranges()[0].high > 1.0f);
  REQUIRE_THROWS_WITH(see(101, 1.0f), Contains("finite values") && Contains("last hundred steps"));
  see(101, 1.0f);
}
