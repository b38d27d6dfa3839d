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

class Metrics {
 public:
  // Files in FOLDER. What they hold up to and including `resume_step` is kept, the rest (what the
  // lost steps of a resumed run had written, or a torn last record) is cut; -1 starts anew.
  explicit Metrics(const std::string& folder, int64_t resume_step = -1);
  ~Metrics();
  void add(const MetricsRow& row);
  void flush();  // to the disk
  const std::vector<MetricsRow>& rows() const { return rows_; }

 private:
  std::string path_;
  std::FILE* json_ = nullptr;
  std::unique_ptr<EventFile> events_;
  std::vector<MetricsRow> rows_;
};

// The rows of a metrics.jsonl, up to the first line that is no row.
std::vector<MetricsRow> read_metrics(const std::string& path);

}  // namespace halftone
