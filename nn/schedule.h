// Learning-rate schedules: pure functions of the step, so that a resumed run needs only the step.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace halftone {

// PyTorch's closed forms (torch.optim.lr_scheduler). A step is whatever the caller counts: batches
// or epochs, 0 for the first.
struct ScheduleOptions {
  std::string name = "constant";    // see schedule_names()
  int64_t step_size = 0;            // step: lr * gamma^(t / step_size)
  std::vector<int64_t> milestones;  // multi_step: lr * gamma^(number of milestones <= t)
  double gamma = 0.1;               // step, multi_step; exponential: lr * gamma^t
  int64_t t_max = 0;                // cosine: min + (lr - min) (1 + cos(pi t / t_max)) / 2
  double min_lr = 0.0;
  // As SequentialLR([LinearLR(start_factor), schedule], [warmup_steps]): the learning rate grows
  // linearly from warmup_start * lr to lr, then the schedule begins with its own t = 0.
  int64_t warmup_steps = 0;
  double warmup_start = 1.0 / 3.0;
};

// The learning rate at step t of a parameter group whose own is `base`.
using Schedule = std::function<double(double base, int64_t t)>;

// Throws on an unknown name and on values that make no schedule.
Schedule make_schedule(const ScheduleOptions& options);
std::vector<std::string> schedule_names();

}  // namespace halftone
