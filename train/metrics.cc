#include "train/metrics.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "tensor/atomic_file.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

nlohmann::ordered_json to_json(const MetricsRow& r) {
  nlohmann::ordered_json j = {
      {"step", r.step}, {"epoch", r.epoch},       {"lr", r.lr},
      {"loss", r.loss}, {"accuracy", r.accuracy}, {"images_per_second", r.images_per_second}};
  if (r.test_accuracy >= 0) {
    j["test_loss"] = r.test_loss;
    j["test_accuracy"] = r.test_accuracy;
  }
  return j;
}

// JSON has no NaN and no infinity: they are written as null.
double number(const nlohmann::json& j, const char* key) {
  return j.at(key).is_null() ? std::numeric_limits<double>::quiet_NaN() : j.at(key).get<double>();
}

MetricsRow from_json(const nlohmann::json& j) {
  MetricsRow r;
  r.step = j.at("step");
  r.epoch = number(j, "epoch");
  r.lr = number(j, "lr");
  r.loss = number(j, "loss");
  r.accuracy = number(j, "accuracy");
  r.images_per_second = number(j, "images_per_second");
  if (!j.contains("test_accuracy")) return r;
  r.test_loss = number(j, "test_loss");
  r.test_accuracy = number(j, "test_accuracy");
  return r;
}

std::string text_of(const std::vector<MetricsRow>& rows) {
  std::string text;
  for (const MetricsRow& row : rows) text += to_json(row).dump() + "\n";
  return text;
}

}  // namespace

Metrics::Metrics(const std::string& folder, int64_t resume_step)
    : path_(folder + "/metrics.jsonl") {
  for (const MetricsRow& row : read_metrics(path_)) {
    if (row.step <= resume_step) rows_.push_back(row);
  }
  if (fs::exists(path_)) write_file_atomically(path_, text_of(rows_));
  events_ = std::make_unique<EventFile>(folder, resume_step);
  json_ = std::fopen(path_.c_str(), "ab");
  if (json_ == nullptr) throw file_error("metrics", path_);
}

Metrics::~Metrics() { std::fclose(json_); }

void Metrics::add(const MetricsRow& row) {
  rows_.push_back(row);
  const std::string line = to_json(row).dump() + "\n";
  if (std::fwrite(line.data(), 1, line.size(), json_) != line.size())
    throw file_error("metrics", path_);
  events_->scalar("train/loss", row.step, static_cast<float>(row.loss));
  events_->scalar("train/accuracy", row.step, static_cast<float>(row.accuracy));
  events_->scalar("train/lr", row.step, static_cast<float>(row.lr));
  events_->scalar("train/images_per_second", row.step, static_cast<float>(row.images_per_second));
  if (row.test_accuracy < 0) return;
  events_->scalar("test/loss", row.step, static_cast<float>(row.test_loss));
  events_->scalar("test/accuracy", row.step, static_cast<float>(row.test_accuracy));
}

void Metrics::flush() {
  if (std::fflush(json_) != 0 || fsync(fileno(json_)) != 0) throw file_error("metrics", path_);
  events_->flush();
}

std::vector<MetricsRow> read_metrics(const std::string& path) {
  std::ifstream in(path);
  std::vector<MetricsRow> rows;
  for (std::string line; std::getline(in, line);) {
    try {
      rows.push_back(from_json(nlohmann::json::parse(line)));
    } catch (const nlohmann::json::exception&) {
      break;
    }
  }
  return rows;
}

}  // namespace halftone
