// Optimizer steps on a CUDA device. float32.
#pragma once

#include <vector>

#include "kernels/cuda/stream.h"
#include "kernels/optimizer_math.h"

namespace halftone::kernels::cuda {

struct SgdArgs {
  int64_t numel = 0;
  SgdOptions options;
  const float* grad = nullptr;
  float* p = nullptr;
  float* momentum_buffer = nullptr;  // with momentum only
};
void sgd_step(Stream& stream, const SgdArgs& args);

// Denormals count as zero, as on the CPU.
struct AdamArgs {
  int64_t numel = 0;
  AdamOptions options;
  const float* grad = nullptr;
  float* p = nullptr;
  float* exp_avg = nullptr;
  float* exp_avg_sq = nullptr;
};
void adam_step(Stream& stream, const AdamArgs& args);

// ---- all parameters, one flat buffer each, in one launch that can be recorded ----

// What a step takes of one parameter: read from the device's memory, so that a recorded launch
// follows the schedule.
template <class Constants>
struct OptimizerRow {
  Constants constants{};
  int32_t updated = 0;  // 0: stays as it is
};

// The share of a block: [begin, end) of the flat buffers, begin a multiple of 4.
struct OptimizerPiece {
  int64_t begin = 0, end = 0;
  int64_t row = 0;
};
constexpr int64_t kOptimizerPiece = 2048;

inline void add_pieces(int64_t begin, int64_t end, int64_t row, std::vector<OptimizerPiece>& list) {
  for (; begin < end; begin += kOptimizerPiece)
    list.push_back({begin, end < begin + kOptimizerPiece ? end : begin + kOptimizerPiece, row});
}

struct OptimizerPieces {
  int64_t count = 0;
  const OptimizerPiece* list = nullptr;
  const float* loss = nullptr;  // null, or what must be finite, lest nothing is updated
};

struct SgdPiecesArgs {
  OptimizerPieces pieces;
  const OptimizerRow<SgdConstants>* rows = nullptr;
  bool nesterov = false;
  const float* grad = nullptr;
  float* p = nullptr;
  float* momentum_buffer = nullptr;  // null: no momentum
};
void sgd_pieces(Stream& stream, const SgdPiecesArgs& args);

struct AdamPiecesArgs {
  OptimizerPieces pieces;
  const OptimizerRow<AdamConstants>* rows = nullptr;
  bool near_start = true;  // AdamConstants::take1 < 0.5, of all rows
  const float* grad = nullptr;
  float* p = nullptr;
  float* exp_avg = nullptr;
  float* exp_avg_sq = nullptr;
};
void adam_pieces(Stream& stream, const AdamPiecesArgs& args);

#define HALFTONE_SGD_KERNELS(K) \
  K(sgd_step, SgdArgs)          \
  K(sgd_pieces, SgdPiecesArgs)
#define HALFTONE_ADAM_KERNELS(K) \
  K(adam_step, AdamArgs)         \
  K(adam_pieces, AdamPiecesArgs)

}  // namespace halftone::kernels::cuda
