#include "nn/schedule.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"
#include "tensor/nearest.h"

namespace halftone {
namespace {

void require(bool good, const char* expected, const std::string& found) {
  if (!good) throw HALFTONE_ERROR("schedule").expected(expected).found(found);
}

Schedule by_steps(int64_t step_size, double gamma) {
  require(step_size > 0, "step_size > 0 for step", std::to_string(step_size));
  return [=](double base, int64_t t) { return base * std::pow(gamma, t / step_size); };
}

Schedule by_milestones(std::vector<int64_t> milestones, double gamma) {
  require(!milestones.empty(), "milestones for multi_step", "none");
  require(std::is_sorted(milestones.begin(), milestones.end()), "milestones in ascending order",
          "others");
  return [=](double base, int64_t t) {
    const auto passed = std::upper_bound(milestones.begin(), milestones.end(), t);
    return base * std::pow(gamma, passed - milestones.begin());
  };
}

Schedule by_cosine(int64_t t_max, double min_lr) {
  require(t_max > 0, "t_max > 0 for cosine", std::to_string(t_max));
  return [=](double base, int64_t t) {
    const double turn = M_PI * static_cast<double>(t) / static_cast<double>(t_max);
    return min_lr + (base - min_lr) * (1.0 + std::cos(turn)) / 2.0;
  };
}

Schedule warmed_up(Schedule schedule, int64_t steps, double start) {
  require(start > 0.0 && start <= 1.0, "warmup_start in (0, 1]", std::to_string(start));
  return [=](double base, int64_t t) {
    if (t >= steps) return schedule(base, t - steps);
    return base * (start + (1.0 - start) * static_cast<double>(t) / static_cast<double>(steps));
  };
}

Schedule without_warmup(const ScheduleOptions& o) {
  require(o.gamma > 0.0, "gamma > 0", std::to_string(o.gamma));
  if (o.name == "constant") return [](double base, int64_t) { return base; };
  if (o.name == "step") return by_steps(o.step_size, o.gamma);
  if (o.name == "multi_step") return by_milestones(o.milestones, o.gamma);
  if (o.name == "cosine") return by_cosine(o.t_max, o.min_lr);
  if (o.name == "exponential") {
    return [gamma = o.gamma](double base, int64_t t) { return base * std::pow(gamma, t); };
  }
  throw_unknown_name("schedule", o.name, schedule_names());
}

}  // namespace

std::vector<std::string> schedule_names() {
  return {"constant", "step", "multi_step", "exponential", "cosine"};
}

Schedule make_schedule(const ScheduleOptions& options) {
  require(options.warmup_steps >= 0, "warmup_steps >= 0", std::to_string(options.warmup_steps));
  Schedule schedule = without_warmup(options);
  if (options.warmup_steps == 0) return schedule;
  return warmed_up(std::move(schedule), options.warmup_steps, options.warmup_start);
}

}  // namespace halftone
