#include "train/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

namespace halftone {
namespace {

double seconds_between(std::chrono::steady_clock::time_point a,
                       std::chrono::steady_clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

std::string with_bar(const std::string& left, const std::string& right, int64_t done, int64_t total,
                     int width) {
  const int bar = std::clamp(width - 3 - static_cast<int>(left.size() + right.size()), 4, 40);
  const int filled = total > 0 ? static_cast<int>(bar * done / total) : 0;
  std::string cells(filled, '=');
  if (filled < bar) cells += '>';
  cells.resize(bar, ' ');
  return left + "[" + cells + "]" + right;
}

int terminal_width(std::FILE* out) {
  winsize size{};
  return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 100;
}

}  // namespace

std::string format_duration(double seconds) {
  const int64_t s = std::llround(std::max(seconds, 0.0));
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

std::string Progress::line(const ProgressState& s, double seconds_left, int width) {
  const std::string left = fmt::format("epoch {}/{} ", s.epoch, s.epochs);
  const std::string right = fmt::format(" {}/{}  {:.0f} img/s  loss {:.4f}  acc {:.2f}%  left {}",
                                        s.epoch_step, s.epoch_steps, s.images_per_second, s.loss,
                                        100 * s.accuracy, format_duration(seconds_left));
  return with_bar(left, right, s.epoch_step, s.epoch_steps, width);
}

Progress::Progress(bool enabled, std::FILE* out)
    : out_(out), enabled_(enabled), terminal_(enabled && isatty(fileno(out))) {
  start_ = last_ = std::chrono::steady_clock::now();
}

Progress::~Progress() { finish(); }

void Progress::clear() {
  if (drawn_ && terminal_) std::fputs("\r\033[K", out_);
  drawn_ = false;
}

void Progress::update(const ProgressState& state) {
  if (!enabled_) return;
  const auto now = std::chrono::steady_clock::now();
  if (first_step_ < 0) first_step_ = state.step - 1, start_ = now;
  if (!due(state.epoch_step == state.epoch_steps)) return;
  const double per_step =
      seconds_between(start_, now) / std::max<int64_t>(state.step - first_step_, 1);
  draw(line(state, per_step * static_cast<double>(state.steps - state.step),
            terminal_width(out_) - 1));
}

void Progress::count(const std::string& what, int64_t done, int64_t total) {
  if (!enabled_ || !due(done == total)) return;
  draw(with_bar(what + " ", fmt::format(" {}/{} images", done, total), done, total,
                terminal_width(out_) - 1));
}

bool Progress::due(bool last) {
  const auto now = std::chrono::steady_clock::now();
  if (seconds_between(last_, now) < (terminal_ ? 0.1 : 10.0) && !last) return false;
  last_ = now;
  return true;
}

void Progress::draw(const std::string& text) {
  clear();
  std::fputs(text.c_str(), out_);
  if (!terminal_) std::fputc('\n', out_);
  drawn_ = terminal_;
  std::fflush(out_);
}

void Progress::warn(const std::string& line) {
  clear();
  std::fprintf(out_, "warning: %s\n", line.c_str());
}

void Progress::note(const std::string& line) {
  if (!enabled_) return;
  clear();
  std::fprintf(out_, "%s\n", line.c_str());
  std::fflush(out_);
}

void Progress::finish() {
  if (drawn_) std::fputc('\n', out_);
  drawn_ = false;
}

}  // namespace halftone
