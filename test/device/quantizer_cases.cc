// Quantizers on a device: the CPU's ranges, scales and values, and no copy to or from the host.
#include <memory>

#include "autograd/ops.h"
#include "nn/layers_pool.h"
#include "nn/layers_shape.h"
#include "quant/average.h"
#include "quant/dorefa_quantize.h"
#include "quant/lsq_quantize.h"
#include "quant/observer.h"
#include "quant/observer_quantize.h"
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

namespace {

// Batches of which some widen the range, a little and by far.
template <class See>
void calibrate(const See& see) {
  test::Both inputs;
  int stream = 0;
  for (const float size : {0.1f, 0.5f, 0.55f, 0.2f, 9.0f, 9.5f}) {
    Tensor x = inputs.in({6, 50}, ++stream);
    for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] *= size;
    see(x);
  }
}

}  // namespace

TEST_CASE("a calibration on a device has the CPU's ranges, and the host waits for nothing") {
  NEED_DEVICE();
  const test::Both b;
  for (const ObserverEntry& observer : observers()) {
    for (const bool per_channel : {false, true}) {
      FakeQuantizeArgs args = args_of(QuantType::kInput, observer.kind);
      const bool tracks =
          observer.kind == ObserverKind::kEma || observer.kind == ObserverKind::kMinMax;
      if (per_channel && !tracks) continue;
      CAPTURE(observer.name, per_channel);
      args.spec.per_channel = per_channel, args.channels = per_channel ? 0 : 1;
      const auto here = make<ObserverQuantize>(b.home(), args);
      const auto there = make<ObserverQuantize>(b.device(), args);
      here->eval(), there->eval();
      calibrate([&](const Tensor& x) {
        const Tensor moved = b.there(x);
        const uint64_t before = b.device().runtime()->host_copies();
        (*here)(Variable(x)), (*there)(Variable(moved));
        // The first batch takes empty state there.
        if (there->batches() > 1) REQUIRE(b.device().runtime()->host_copies() == before);
      });
      const auto counts = there->state_dict().at("histogram");
      REQUIRE(counts.nbytes() == here->state_dict().at("histogram").nbytes());
      here->fix(), there->fix();
      require_same_ranges(*here, *there);
      const Tensor x = test::Both().in({6, 50}, 99);
      REQUIRE((*there)(Variable(b.there(x))).value().to_vector<float>() ==
              (*here)(Variable(x)).value().to_vector<float>());
    }
  }
}

TEST_CASE("what was not finite in a calibration on a device is said when the range is fixed") {
  NEED_DEVICE();
  const test::Both b;
  for (const float bad : {NAN, INFINITY, 0x1p61f}) {
    const auto q =
        make<ObserverQuantize>(b.device(), args_of(QuantType::kInput, ObserverKind::kHistogram));
    q->eval();
    const auto see = [&](float value) {
      (*q)(Variable(b.there(Tensor::from(b.home(), {2}, std::vector<float>{-0.5f, value}))));
    };
    see(1.0f), see(bad);
    REQUIRE_THROWS_WITH(q->fix(), Contains("finite values up to 2^60 in the calibration"));
  }
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

namespace {

// Codes whose scale and zero point only the device knows, and what it stands for on the CPU.
struct CodesOnBoth {
  explicit CodesOnBoth(const test::Both& b) {
    std::vector<uint8_t> values(2 * 6 * 6 * 3);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint8_t>(37 * i % 256);
    here = {Tensor::from(b.home(), {2, 6, 6, 3}, values), {0.3f, 77, 0, 255}};
    there = {b.there(here.values), {0.0f, 0, 0, 255}};
    there.scale = b.there(Tensor::from(b.home(), {1}, std::vector<float>{0.3f}));
    there.zero_point = b.there(Tensor::from(b.home(), {1}, std::vector<int32_t>{77}));
  }
  Codes here, there;
};

}  // namespace

TEST_CASE("codes on a grid that only the device knows") {
  NEED_DEVICE();
  const test::Both b;
  const CodesOnBoth codes(b);
  REQUIRE(known(codes.there).params == codes.here.params);
  REQUIRE(same_grid(codes.there, codes.there));
  REQUIRE_FALSE(same_grid(codes.there, codes.here));
  const Variable x(codes.here), y(codes.there);
  const uint64_t before = b.device().runtime()->host_copies();
  const Tensor reals = y.value();
  // Moved, they keep it.
  Pool2dOptions o;
  o.kernel_h = o.kernel_w = o.stride_h = o.stride_w = 2;
  const Variable pooled = max_pool2d(reshape(y, {2, 6, 6, 3}), o);
  REQUIRE(b.device().runtime()->host_copies() == before);
  REQUIRE(same_grid(*pooled.codes(), codes.there));
  REQUIRE(reals.to_vector<float>() == x.value().to_vector<float>());
  REQUIRE(pooled.value().to_vector<float>() == max_pool2d(x, o).value().to_vector<float>());
  // Channels of zeros need the numbers.
  REQUIRE(subsample_pad(y, 2, 1, 1).value().to_vector<float>() ==
          subsample_pad(x, 2, 1, 1).value().to_vector<float>());
}

TEST_CASE("dropout and means of codes on a grid that only the device knows") {
  NEED_DEVICE();
  const test::Both b;
  const CodesOnBoth codes(b);
  const auto drop = [&](const Context& context, const Codes& x) {
    const auto dropout = make<Dropout>(context, 0.3f);
    install_code_dropout(*dropout);
    context.random() = {5, 0};
    return (*dropout)(Variable(x));
  };
  const auto average = [&](const Context& context, const Codes& x) {
    const auto pool = make<AdaptiveAvgPool2d>(context, 2, 2);
    const auto means = std::make_shared<Average>();
    means->pool = pool.get();
    means->output = make<RangeQuantize>(context, args_of(QuantType::kOutput));
    means->tree = std::make_shared<TreeWatch>(*pool);
    install(means);
    return (*pool)(Variable(x));
  };
  const Variable want = drop(b.home(), codes.here), mean = average(b.home(), codes.here);
  const uint64_t before = b.device().runtime()->host_copies();
  const Variable got = drop(b.device(), codes.there);
  REQUIRE(b.device().runtime()->host_copies() == before);
  REQUIRE(got.codes()->values.to_vector<uint8_t>() == want.codes()->values.to_vector<uint8_t>());
  REQUIRE(known(*got.codes()).params.scale == want.codes()->params.scale);
  REQUIRE(got.value().to_vector<float>() == want.value().to_vector<float>());
  REQUIRE(average(b.device(), codes.there).value().to_vector<float>() ==
          mean.value().to_vector<float>());
}
