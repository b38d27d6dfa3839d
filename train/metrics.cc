#include "train/metrics.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tensor/error.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

Error write_error(const std::string& path) {
  Error e = HALFTONE_ERROR("metrics");
  return e.at(path)
      .what_happened("cannot write")
      .found(std::strerror(errno))
      .fix("free space, or choose another --out");
}

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

MetricsRow from_json(const nlohmann::json& j) {
  MetricsRow r;
  r.step = j.at("step");
  r.epoch = j.at("epoch");
  r.lr = j.at("lr");
  r.loss = j.at("loss");
  r.accuracy = j.at("accuracy");
  r.images_per_second = j.at("images_per_second");
  r.test_loss = j.value("test_loss", -1.0);
  r.test_accuracy = j.value("test_accuracy", -1.0);
  return r;
}

void cut(const std::string& path, int64_t bytes) {
  if (fs::exists(path) && truncate(path.c_str(), bytes) != 0) throw write_error(path);
}

}  // namespace

Metrics::Metrics(const std::string& folder, const MetricsPosition* resume_at)
    : path_(folder + "/metrics.jsonl") {
  json_bytes_ = resume_at ? resume_at->json_bytes : 0;
  cut(path_, json_bytes_);
  if (fs::exists(path_)) rows_ = read_metrics(path_);
  json_ = std::fopen(path_.c_str(), "ab");
  if (json_ == nullptr) throw write_error(path_);
  events_ = std::make_unique<EventFile>(folder, resume_at ? resume_at->event_bytes : 0);
}

Metrics::~Metrics() { std::fclose(json_); }

void Metrics::add(const MetricsRow& row) {
  rows_.push_back(row);
  const std::string line = to_json(row).dump() + "\n";
  if (std::fwrite(line.data(), 1, line.size(), json_) != line.size()) throw write_error(path_);
  json_bytes_ += static_cast<int64_t>(line.size());
  events_->scalar("train/loss", row.step, static_cast<float>(row.loss));
  events_->scalar("train/accuracy", row.step, static_cast<float>(row.accuracy));
  events_->scalar("train/lr", row.step, static_cast<float>(row.lr));
  events_->scalar("train/images_per_second", row.step, static_cast<float>(row.images_per_second));
  if (row.test_accuracy < 0) return;
  events_->scalar("test/loss", row.step, static_cast<float>(row.test_loss));
  events_->scalar("test/accuracy", row.step, static_cast<float>(row.test_accuracy));
}

MetricsPosition Metrics::position() {
  if (std::fflush(json_) != 0) throw write_error(path_);
  events_->flush();
  return {json_bytes_, events_->bytes()};
}

std::vector<MetricsRow> read_metrics(const std::string& path) {
  std::ifstream in(path);
  std::vector<MetricsRow> rows;
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    try {
      rows.push_back(from_json(nlohmann::json::parse(line)));
    } catch (const nlohmann::json::exception& e) {
      throw HALFTONE_ERROR("metrics")
          .at(path + ":" + std::to_string(number))
          .expected("a row of metrics as JSON")
          .found(e.what());
    }
  }
  return rows;
}

}  // namespace halftone
