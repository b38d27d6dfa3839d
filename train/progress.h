// A progress bar for people, lines for logs.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace halftone {

struct ProgressState {
  int epoch = 0, epochs = 0;    // 1-based
  int64_t step = 0, steps = 0;  // of the whole run
  int64_t epoch_step = 0, epoch_steps = 0;
  double images_per_second = 0, loss = 0, accuracy = 0;
};

// On a terminal one line that is redrawn ten times a second; elsewhere one line every ten seconds.
// Writes to stderr, so that standard output stays clean for results.
class Progress {
 public:
  explicit Progress(bool enabled, std::FILE* out = stderr);
  ~Progress();
  void update(const ProgressState& state);
  void count(const std::string& what, int64_t done, int64_t total);  // of images
  void warn(const std::string& line);  // "warning: LINE", shown also when the bar is off
  void note(const std::string& line);  // a line of its own, above the bar
  void finish();                       // leaves the last line standing

  // "epoch 2/4 [=====>    ] 512/938  41203 img/s  loss 0.0412  acc 98.71%  left 0:12"
  static std::string line(const ProgressState& state, double seconds_left, int width);

 private:
  bool due(bool last);  // whether the line is to be drawn again
  void draw(const std::string& text);
  void clear();
  std::FILE* out_;
  bool enabled_, terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point start_, last_;
  int64_t first_step_ = -1;
};

std::string format_duration(double seconds);  // "0:07", "12:34", "1:02:03"

}  // namespace halftone
