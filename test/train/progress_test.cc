#include "train/progress.h"

#include <catch2/catch.hpp>

using namespace halftone;

TEST_CASE("durations read as clocks") {
  CHECK(format_duration(7.4) == "0:07");
  CHECK(format_duration(754) == "12:34");
  CHECK(format_duration(3723) == "1:02:03");
  CHECK(format_duration(-1) == "0:00");
}

TEST_CASE("the line says epoch, speed, loss, accuracy and time left") {
  ProgressState s;
  s.epoch = 2, s.epochs = 4, s.epoch_step = 469, s.epoch_steps = 938;
  s.images_per_second = 41203.4, s.loss = 0.04119, s.accuracy = 0.98714;
  CHECK(Progress::line(s, 12, 100) ==
        "epoch 2/4 [===============>              ] 469/938  41203 img/s  loss 0.0412  acc 98.71%  "
        "left 0:12");
  s.epoch_step = 938;
  CHECK_THAT(Progress::line(s, 0, 20), Catch::Contains("[====]"));
}

TEST_CASE("off a terminal it writes lines, and nothing when it is off") {
  std::FILE* out = std::tmpfile();
  ProgressState s;
  s.epoch = s.epochs = 1, s.step = s.steps = s.epoch_step = s.epoch_steps = 1;
  Progress(false, out).update(s);
  CHECK(std::ftell(out) == 0);
  Progress(true, out).update(s);
  CHECK(std::ftell(out) > 20);
  std::rewind(out);
  char text[256] = {};
  CHECK(std::fread(text, 1, sizeof text, out) > 0);
  CHECK(std::string(text).find('\r') == std::string::npos);
  std::fclose(out);
}
