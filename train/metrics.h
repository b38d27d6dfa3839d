// What a run measures: JSON lines, TensorBoard events, and the curves drawn from them.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "train/event_file.h"

namespace halftone {

// One line of metrics.jsonl. Accuracies in 0..1; evaluation fields are negative between
// evaluations.
struct MetricsRow {
  int64_t step = 0;  // optimizer steps done
  double epoch = 0;  // epochs done, with fraction
  double lr = 0;
  double loss = 0;      // mean over the steps since the last row
  double accuracy = 0;  // on the training batches since the last row
  double images_per_second = 0;
  double test_loss = -1, test_accuracy = -1;
};

// Offsets that a checkpoint holds, so that a resumed run cuts the files to its step.
struct MetricsPosition {
  int64_t json_bytes = 0, event_bytes = 0;
};

class Metrics {
 public:
  // Files in FOLDER; `resume_at` cuts them to a checkpoint's position, null starts them anew.
  Metrics(const std::string& folder, const MetricsPosition* resume_at);
  ~Metrics();
  void add(const MetricsRow& row);
  MetricsPosition position();  // after a flush
  const std::vector<MetricsRow>& rows() const { return rows_; }

 private:
  std::string path_;
  std::FILE* json_ = nullptr;
  int64_t json_bytes_ = 0;
  std::unique_ptr<EventFile> events_;
  std::vector<MetricsRow> rows_;
};

// The rows of a metrics.jsonl; an unreadable line is an Error with its number.
std::vector<MetricsRow> read_metrics(const std::string& path);

}  // namespace halftone
