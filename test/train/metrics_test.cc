#include "train/metrics.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "tensor/error.h"
#include "test/tensor/temp_folder.h"
#include "train/curves.h"

using namespace halftone;

namespace {

std::string event_path(const std::string& folder) {
  for (const auto& e : std::filesystem::directory_iterator(folder)) {
    if (e.path().string().find("tfevents") != std::string::npos) return e.path().string();
  }
  return "";
}

MetricsRow row(int step, double test_accuracy = -1) {
  MetricsRow r;
  r.step = step;
  r.epoch = step / 10.0;
  r.loss = 1.0 / step;
  r.accuracy = 0.5;
  r.test_accuracy = test_accuracy;
  r.test_loss = test_accuracy < 0 ? -1 : 0.3;
  return r;
}

}  // namespace

TEST_CASE("CRC-32C agrees with the published check value") {
  CHECK(crc32c("123456789", 9) ==
        0xE3069283u);  // RFC 3720, appendix B.4 polynomial; the standard check input
  CHECK(crc32c(std::string(32, '\0').data(), 32) ==
        0x8A9136AAu);  // RFC 3720, B.4: 32 bytes of zeroes
}

TEST_CASE(
    "an event file is a row of TFRecords whose sums hold and whose first record is the version") {
  test::TempFolder f;
  {
    EventFile events(f.path());
    events.scalar("train/loss", 7, 0.25f);
    events.flush();
  }
  const std::string data = test::read_bytes(event_path(f.path()));
  std::vector<std::string> records;
  for (size_t at = 0; at < data.size();) {
    uint64_t length;
    uint32_t crc;
    std::memcpy(&length, &data[at], 8);
    std::memcpy(&crc, &data[at + 8], 4);
    const uint32_t sum = crc32c(&data[at], 8);
    CHECK(crc == ((sum >> 15) | (sum << 17)) + 0xa282ead8u);
    records.push_back(data.substr(at + 12, length));
    const uint32_t body = crc32c(&data[at + 12], length);
    std::memcpy(&crc, &data[at + 12 + length], 4);
    CHECK(crc == ((body >> 15) | (body << 17)) + 0xa282ead8u);
    at += 16 + length;
  }
  REQUIRE(records.size() == 2);
  CHECK(records[0].substr(9) == std::string("\x1a\x0d") + "brain.Event:2");
  const float value = 0.25f;
  std::string entry = std::string("\x0a\x0a") + "train/loss" + "\x15" +
                      std::string(reinterpret_cast<const char*>(&value), 4);
  std::string summary = std::string("\x0a") + char(entry.size()) + entry;
  CHECK(records[1].substr(9) == std::string("\x10\x07\x2a") + char(summary.size()) + summary);
}

TEST_CASE("rows read back from the JSON lines") {
  test::TempFolder f;
  Metrics m(f.path());
  m.add(row(10));
  m.add(row(20, 0.75));
  m.flush();
  const auto rows = read_metrics(f.path() + "/metrics.jsonl");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].test_accuracy < 0);
  CHECK(rows[1].test_accuracy == 0.75);
  CHECK(rows[1].loss == 0.05);
}

TEST_CASE("a resume keeps the rows up to its step, and drops torn records") {
  test::TempFolder f;
  std::string json, events;
  {
    Metrics m(f.path());
    m.add(row(10));
    m.flush();
    json = test::read_bytes(f.path() + "/metrics.jsonl");
    events = test::read_bytes(event_path(f.path()));
    m.add(row(20, 0.5));
  }
  CHECK(test::read_bytes(f.path() + "/metrics.jsonl").size() > json.size());
  std::ofstream(f.path() + "/metrics.jsonl", std::ios::app) << "{\"step\": 3";
  std::ofstream(event_path(f.path()), std::ios::app) << "torn";
  {
    Metrics m(f.path(), 10);
    m.flush();
    CHECK(test::read_bytes(f.path() + "/metrics.jsonl") == json);
    CHECK(test::read_bytes(event_path(f.path())) == events);
    CHECK(m.rows().size() == 1);
    m.add(row(20, 0.5));
  }
  CHECK(read_metrics(f.path() + "/metrics.jsonl").size() == 2);
  Metrics fresh(f.path());
  CHECK(fresh.rows().empty());
}

TEST_CASE("a resume without its old metrics goes on with new ones") {
  test::TempFolder f;
  Metrics m(f.path(), 10);
  m.add(row(20));
  m.flush();
  CHECK(read_metrics(f.path() + "/metrics.jsonl").size() == 1);
}

TEST_CASE("a loss that is not finite is written and read") {
  test::TempFolder f;
  Metrics m(f.path());
  MetricsRow r = row(10, 0.5);
  r.test_loss = std::numeric_limits<double>::infinity();
  m.add(r);
  m.flush();
  const auto rows = read_metrics(f.path() + "/metrics.jsonl");
  REQUIRE(rows.size() == 1);
  CHECK(std::isnan(rows[0].test_loss));
  CHECK(rows[0].test_accuracy == 0.5);
}

TEST_CASE("an unwritable folder is named") {
  CHECK_THROWS_WITH(Metrics("/nonexistent"), Catch::Contains("/nonexistent/events.out"));
}

TEST_CASE("the curves are an SVG with every series, also for one row and for zeros") {
  MetricsRow r = row(10, 1.0);
  r.accuracy = 1;
  r.loss = 0;
  const std::string one = draw_curves("a < b & c", {r}, -1);
  CHECK_THAT(one, Catch::StartsWith("<svg") && Catch::Contains("a &lt; b &amp; c") &&
                      Catch::EndsWith("</svg>\n"));
  CHECK(one.find("quantized from here") == std::string::npos);
  CHECK(one.find("nan") == std::string::npos);
  CHECK(one.find("inf") == std::string::npos);
  CHECK_THAT(draw_curves("t", {row(10), row(20, 0.9)}, 1.5),
             Catch::Contains("quantized from here"));
}
