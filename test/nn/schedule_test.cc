#include "nn/schedule.h"

#include <catch2/catch.hpp>

#include "nn/layers.h"
#include "nn/optimizer.h"
#include "test/nn/torch_numbers.h"

namespace halftone {
namespace {

ScheduleOptions named(const std::string& name) {
  ScheduleOptions o;
  o.name = name;
  return o;
}

void check_schedule(const std::string& key, const ScheduleOptions& options) {
  Context context;
  const test::TorchNumbers numbers(context, "schedules");
  const Schedule schedule = make_schedule(options);
  std::vector<float> rates;
  for (int t = 0; t < 24; ++t) rates.push_back(static_cast<float>(schedule(0.4, t)));
  test::ErrorMeter meter;
  meter.check(key, Tensor::from<float>(context, {24}, rates), numbers.at(key));
}

TEST_CASE("every schedule has PyTorch's learning rates") {
  check_schedule("constant", named("constant"));
  ScheduleOptions o = named("step");
  o.step_size = 7;
  o.gamma = 0.5;
  check_schedule("step", o);
  o = named("multi_step");
  o.milestones = {3, 11, 12};
  o.gamma = 0.2;
  check_schedule("multi_step", o);
  o = named("exponential");
  o.gamma = 0.93;
  check_schedule("exponential", o);
  o = named("cosine");
  o.t_max = 24;
  check_schedule("cosine", o);
  o.min_lr = 0.02;
  check_schedule("cosine_min", o);
}

TEST_CASE("a warm-up is PyTorch's SequentialLR of LinearLR and the schedule") {
  ScheduleOptions o = named("constant");
  o.warmup_steps = 5;
  check_schedule("warmup_constant", o);
  o.warmup_start = 0.1;
  o.name = "cosine";
  o.t_max = 19;
  check_schedule("warmup_cosine", o);
  o.name = "step";
  o.step_size = 6;
  o.gamma = 0.5;
  check_schedule("warmup_step", o);
}

TEST_CASE("a schedule sets the learning rate of every group from its own base") {
  Context context;
  Linear model(context, 2, 2);
  ParameterStore store(model);
  OptimizerOptions options;
  options.lr = 0.1;
  options.groups = {{"bias", 0.2, {}}};
  const auto optimizer = make_optimizer(store, options);
  ScheduleOptions o = named("step");
  o.step_size = 1;
  o.gamma = 0.5;
  optimizer->schedule(make_schedule(o), 2);
  CHECK(optimizer->groups()[0].lr == 0.2 * 0.25);
  CHECK(optimizer->groups()[1].lr == 0.1 * 0.25);
}

TEST_CASE("schedules that make no sense are refused") {
  CHECK_THROWS_WITH(make_schedule(named("cosin")), Catch::Contains("did you mean cosine?"));
  CHECK_THROWS_WITH(make_schedule(named("cosine")), Catch::Contains("t_max > 0"));
  CHECK_THROWS_WITH(make_schedule(named("step")), Catch::Contains("step_size > 0"));
  CHECK_THROWS_WITH(make_schedule(named("multi_step")), Catch::Contains("milestones"));
  ScheduleOptions o = named("multi_step");
  o.milestones = {5, 3};
  CHECK_THROWS_WITH(make_schedule(o), Catch::Contains("ascending"));
}

}  // namespace
}  // namespace halftone
