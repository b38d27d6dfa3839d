#include "train/curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace halftone {
namespace {

constexpr double kWidth = 480, kHeight = 300, kLeft = 64, kTop = 56, kGap = 110;

struct Point {
  double x, y;
};
struct Series {
  const char* name;
  const char* colour;
  bool dots;  // few points: mark each
  std::vector<Point> points;
};
struct Panel {
  double left;
  double x_max;
  int low, high;  // decades of the vertical axis: 10^low .. 10^high
  double x(double v) const { return left + kWidth * v / x_max; }
  double y(double v) const {
    const double t = (std::log10(v) - low) / (high - low);
    return kTop + kHeight * (1 - std::clamp(t, 0.0, 1.0));
  }
};

std::string text(double x, double y, const char* anchor, const std::string& s, int size = 12) {
  return fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='{}' font-size='{}'>{}</text>\n", x,
                     y, anchor, size, s);
}

std::string escape(const std::string& s) {
  std::string out;
  for (char c : s) out += c == '<' ? "&lt;" : c == '&' ? "&amp;" : std::string(1, c);
  return out;
}

// 1, 2 or 5 times a power of ten: at most eight steps over the range.
double tick_step(double range) {
  const double unit = std::pow(10, std::floor(std::log10(std::max(range / 8, 1e-9))));
  for (double factor : {1.0, 2.0, 5.0}) {
    if (unit * factor * 8 >= range) return unit * factor;
  }
  return unit * 10;
}

std::string draw_axes(const Panel& p, const std::string& title) {
  std::string out = text(p.left, kTop - 12, "start", title, 14);
  for (int d = p.low; d <= p.high; ++d) {
    const double y = p.y(std::pow(10, d));
    out += fmt::format("<line x1='{}' x2='{}' y1='{:.1f}' y2='{:.1f}' stroke='#ddd'/>\n", p.left,
                       p.left + kWidth, y, y);
    out += text(p.left - 8, y + 4, "end", fmt::format("{:g}", std::pow(10, d)));
  }
  const double step = tick_step(p.x_max);
  for (int i = 0; i * step <= p.x_max * 1.0001; ++i) {
    const double v = i * step, x = p.x(v);
    out += fmt::format("<line x1='{:.1f}' x2='{:.1f}' y1='{}' y2='{}' stroke='#888'/>\n", x, x,
                       kTop + kHeight, kTop + kHeight + 5);
    out += text(x, kTop + kHeight + 20, "middle", fmt::format("{:g}", v));
  }
  out += text(p.left + kWidth / 2, kTop + kHeight + 40, "middle", "epochs");
  return out +
         fmt::format("<rect x='{}' y='{}' width='{}' height='{}' fill='none' stroke='#888'/>\n",
                     p.left, kTop, kWidth, kHeight);
}

std::string draw_series(const Panel& p, const Series& s, int position) {
  std::string path, dots;
  for (const Point& point : s.points) {
    path += fmt::format("{:.1f},{:.1f} ", p.x(point.x), p.y(point.y));
    if (s.dots) {
      dots += fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='3' fill='{}'/>\n", p.x(point.x),
                          p.y(point.y), s.colour);
    }
  }
  const double y = kTop + 18 + 18 * position, x = p.left + kWidth - 110;
  return fmt::format("<polyline points='{}' fill='none' stroke='{}' stroke-width='1.5'/>\n{}", path,
                     s.colour, dots) +
         fmt::format("<line x1='{}' x2='{}' y1='{}' y2='{}' stroke='{}' stroke-width='3'/>\n", x,
                     x + 22, y - 4, y - 4, s.colour) +
         text(x + 28, y, "start", s.name);
}

std::string draw_panel(double left, double x_max, const std::string& title,
                       const std::vector<Series>& series, double quantized_from) {
  double smallest = 1e9, largest = 1e-9;
  for (const Series& s : series) {
    for (const Point& p : s.points)
      smallest = std::min(smallest, p.y), largest = std::max(largest, p.y);
  }
  if (smallest > largest) smallest = largest = 1;
  const int low = static_cast<int>(std::floor(std::log10(smallest)));
  const Panel p{left, x_max, low,
                std::max(low + 1, static_cast<int>(std::ceil(std::log10(largest))))};
  std::string out = draw_axes(p, title);
  if (quantized_from >= 0 && quantized_from <= x_max) {
    const double x = p.x(quantized_from);
    out += fmt::format(
        "<line x1='{:.1f}' x2='{:.1f}' y1='{}' y2='{}' stroke='#555' stroke-dasharray='5 4'/>\n", x,
        x, kTop, kTop + kHeight);
    out += text(x + 5, kTop + kHeight - 8, "start", "quantized from here");
  }
  for (size_t i = 0; i < series.size(); ++i) out += draw_series(p, series[i], static_cast<int>(i));
  return out;
}

}  // namespace

std::string draw_curves(const std::string& title, const std::vector<MetricsRow>& rows,
                        double quantized_from) {
  Series loss{"training", "#1f77b4", false, {}}, test_loss{"test", "#d62728", true, {}};
  Series error = loss, test_error = test_loss;
  double x_max = 1e-9;
  for (const MetricsRow& r : rows) {
    x_max = std::max(x_max, r.epoch);
    // Zeros have no logarithm: they are drawn at the axis' lower end, 0.001 (loss) and 0.01 %.
    if (std::isfinite(r.loss)) loss.points.push_back({r.epoch, std::max(r.loss, 1e-3)});
    error.points.push_back({r.epoch, std::max(100 * (1 - r.accuracy), 1e-2)});
    if (r.test_accuracy < 0) continue;
    if (std::isfinite(r.test_loss))
      test_loss.points.push_back({r.epoch, std::max(r.test_loss, 1e-3)});
    test_error.points.push_back({r.epoch, std::max(100 * (1 - r.test_accuracy), 1e-2)});
  }
  const double second = kLeft + kWidth + kGap, width = second + kWidth + 30;
  return fmt::format(
             "<svg xmlns='http://www.w3.org/2000/svg' width='{}' height='{}' "
             "font-family='sans-serif' fill='#222'>\n",
             width, kTop + kHeight + 60) +
         "<rect width='100%' height='100%' fill='white'/>\n" +
         text(kLeft, 24, "start", escape(title), 16) +
         draw_panel(kLeft, x_max, "loss", {loss, test_loss}, quantized_from) +
         draw_panel(second, x_max, "error, %", {error, test_error}, quantized_from) + "</svg>\n";
}

}  // namespace halftone
