// What a device's optimizer reads from its memory: which elements are updated, with which
// constants. Inside //nn only.
#pragma once

#include <optional>
#include <vector>

#include "kernels/device_call.h"
#include "kernels/optimizer_cuda.h"
#include "nn/parameter_store.h"

namespace halftone {

// Constants: kernels::SgdConstants or AdamConstants. A row per parameter of the store.
template <class Constants>
class OptimizerTable {
 public:
  using Row = kernels::cuda::OptimizerRow<Constants>;

  // Of a store on a device. Its addresses stay until the next call: launches can be recorded.
  void lay_out(ParameterStore& store) {
    const auto& entries = store.entries();
    std::vector<kernels::cuda::OptimizerPiece> list;
    for (size_t i = 0; i < entries.size(); ++i) {
      const bool last = i + 1 == entries.size();
      const int64_t end = last ? store.values().numel() : entries[i + 1].offset;
      kernels::cuda::add_pieces(entries[i].offset, end, static_cast<int64_t>(i), list);
    }
    const Context& context = store.values().context();
    pieces_count_ = static_cast<int64_t>(list.size());
    pieces_.emplace(context, list);
    rows_.emplace(context, static_cast<int64_t>(entries.size()));
    runtime_ = context.runtime();
  }
  void put(const std::vector<Row>& rows) {
    runtime_->copy(rows_->data(), rows.data(), rows.size() * sizeof(Row), CopyKind::kToDevice);
  }
  const Row* rows() const { return rows_->data(); }
  kernels::cuda::OptimizerPieces pieces(const float* loss) const {
    return {pieces_count_, pieces_->data(), loss};
  }

 private:
  int64_t pieces_count_ = 0;
  std::optional<kernels::DeviceRoom<kernels::cuda::OptimizerPiece>> pieces_;
  std::optional<kernels::DeviceRoom<Row>> rows_;
  DeviceRuntime* runtime_ = nullptr;  // the store's
};

}  // namespace halftone
