#include "kernels/quantize.h"

#include <cmath>
#include <limits>

#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/grid_walk.h"

namespace halftone::kernels {
namespace {

using quant_math::Grid;
using quant_math::Rounding;

constexpr int64_t kGrain = 16384;

// Rows of a weight that are worth a thread's while.
int64_t row_grain(int64_t length) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(length, 1));
}

// By value, so that the bytes written cannot be any of the constants.
void quantize_row(const float* w, int64_t length, const Grid grid, const int32_t factor,
                  const int32_t offset, int8_t* codes) {
  for (int64_t i = 0; i < length; ++i) {
    const int32_t code = quant_math::quantize(w[i], grid) - grid.zero_point;
    codes[i] = static_cast<int8_t>(code * factor - offset);
  }
}

// One body over all elements; dy may be null.
void for_blocks(const char* op, const Tensor& x, const Tensor* dy, const Grids& grids,
                QuantBodies::Body body, Tensor& out) {
  check_same(op, x, out);
  if (dy != nullptr) check_same(op, x, *dy);
  const GridWalk walk(op, x, grids.axis, grids.list.size());
  const bool nni = grids.rounding == Rounding::kNni;
  const GridColumns columns(walk, grids, nni ? GridColumns::Rule::kNni : GridColumns::Rule::kOnnx);
  QuantBlock block{};
  block.x = x.data<float>();
  block.dy = dy != nullptr ? dy->data<float>() : nullptr;
  block.out = out.data<float>();
  block.stream = streams(block.out, out.numel() * 4);
  walk.for_pieces(x.context(), [&](int64_t, int64_t channel, int64_t begin, int64_t end) {
    QuantBlock b = block;
    columns.set(walk, channel, begin, end, b);
    body(b);
  });
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Smallest, largest and NaN of every piece, by column of a tile or by lane.
struct Ranges {
  Ranges(const GridWalk& walk)
      : columns(walk.tiled ? walk.width : kQuantLanes),
        low(walk.pieces * columns, kInfinity),
        high(low.size(), -kInfinity),
        nan(low.size(), 0.0f) {}
  void set(int64_t piece, ReduceBlock& b) {
    b.low = &low[piece * columns];
    b.high = &high[piece * columns];
    b.nan = &nan[piece * columns];
  }
  void merge(const GridWalk& walk, std::vector<Range>& out) const {
    for (int64_t p = 0; p < walk.pieces; ++p) {
      for (int64_t j = 0; j < columns; ++j) {
        const int64_t i = p * columns + j;
        Range& r = out[walk.tiled ? j % walk.channels : walk.channel(p)];
        const bool bad = nan[i] != nan[i];  // a NaN in r stays: it loses no comparison
        r.low = bad ? nan[i] : (low[i] < r.low ? low[i] : r.low);
        r.high = bad ? nan[i] : (high[i] > r.high ? high[i] : r.high);
      }
    }
  }

  int64_t columns;
  std::vector<float> low, high, nan;
};

void check_rows(const char* op, const char* what, size_t found, int64_t rows) {
  if (static_cast<int64_t>(found) == rows) return;
  throw HALFTONE_ERROR(op)
      .expected(std::string(what) + " for " + std::to_string(rows) + " rows")
      .found(std::to_string(found));
}

}  // namespace

std::vector<Range> observe_ranges(const Tensor& x, int axis) {
  check_dtype("observe_ranges", "input", x, DType::kFloat32);
  HALFTONE_ON_DEVICE(observe_ranges, x, x, axis);
  const size_t channels = axis < 0 ? 1 : static_cast<size_t>(x.dim(axis));
  const GridWalk walk("observe_ranges", x, axis, channels);
  Ranges ranges(walk);
  reduce_pieces(x, walk, quant_bodies().range, ranges);
  std::vector<Range> out(channels, Range{kInfinity, -kInfinity});
  ranges.merge(walk, out);
  return out;
}

void fake_quantize(const Tensor& x, const Grids& grids, Tensor& y) {
  HALFTONE_ON_DEVICE(fake_quantize, x, x, grids, y);
  const QuantBodies& bodies = quant_bodies();
  for_blocks("fake_quantize", x, nullptr, grids,
             grids.rounding == Rounding::kNni ? bodies.fake_quantize_nni : bodies.fake_quantize, y);
}

void fake_quantize_backward(const Tensor& dy, const Tensor& x, const Grids& grids, Tensor& dx) {
  HALFTONE_ON_DEVICE(fake_quantize_backward, x, dy, x, grids, dx);
  const QuantBodies& bodies = quant_bodies();
  for_blocks("fake_quantize_backward", x, &dy, grids,
             grids.rounding == Rounding::kNni ? bodies.ste_gradient_nni : bodies.ste_gradient, dx);
}

void fake_quantize_truncate(const Tensor& x, const Grids& grids, Tensor& y) {
  check_same("fake_quantize_truncate", x, y);
  const GridWalk walk("fake_quantize_truncate", x, grids.axis, grids.list.size());
  HALFTONE_ON_DEVICE(fake_quantize_truncate, x, x, grids, y);
  const float* in = x.data<float>();
  float* out = y.data<float>();
  walk.for_pieces(x.context(), [&](int64_t, int64_t channel, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Grid& g = grids.list[walk.tiled ? i % walk.channels : channel];
      out[i] = quant_math::fake_quantize_truncate(in[i], g);
    }
  });
}

void quantize_to_codes(const Tensor& x, const Grid& grid, Rounding rounding, Tensor& codes) {
  check_shape("quantize_to_codes", "codes", codes, x.shape());
  HALFTONE_ON_DEVICE(quantize_to_codes, x, x, grid, rounding, codes);
  const float* in = x.data<float>();
  uint8_t* out = codes.data<uint8_t>();
  parallel_for(x.context(), x.numel(), kGrain, [=](int64_t begin, int64_t end) {
    const Grid g = grid;  // a local: bytes written through `out` cannot alias it
    const float *from = in, *const stop = in + end;
    uint8_t* to = out + begin;
    if (rounding == Rounding::kOnnx) {
      for (from += begin; from < stop; ++from, ++to) {
        *to = static_cast<uint8_t>(quant_math::quantize(*from, g));
      }
    } else {
      for (from += begin; from < stop; ++from, ++to) {
        *to = static_cast<uint8_t>(quant_math::quantize_nni(*from, g));
      }
    }
  });
}

void codes_to_reals(const Codes& codes, Tensor& y) {
  check_shape("codes_to_reals", "result", y, codes.values.shape());
  HALFTONE_ON_DEVICE(codes_to_reals, codes.values, codes, y);
  y.copy_from(dequantize(codes));
}

void drop_codes(const Tensor& codes, const Tensor& mask, uint8_t zero, Tensor& y) {
  check_shape("drop_codes", "mask", mask, codes.shape());
  check_shape("drop_codes", "result", y, codes.shape());
  HALFTONE_ON_DEVICE(drop_codes, codes, codes, mask, zero, y);
  const uint8_t* in = codes.data<uint8_t>();
  const float* keep = mask.data<float>();
  uint8_t* out = y.data<uint8_t>();
  parallel_for(codes.context(), codes.numel(), kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = keep[i] != 0.0f ? in[i] : zero;
  });
}

void codes_to_integers(const Tensor& codes, int32_t zero_point, Tensor& y) {
  check_shape("codes_to_integers", "result", y, codes.shape());
  HALFTONE_ON_DEVICE(codes_to_integers, codes, codes, zero_point, y);
  const uint8_t* in = codes.data<uint8_t>();
  float* out = y.data<float>();
  parallel_for(codes.context(), codes.numel(), kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = static_cast<float>(in[i] - zero_point);
  });
}

void quantize_weights(const Tensor& w, const WeightCodes& options, Tensor& codes) {
  const char* op = "quantize_weights";
  const int64_t rows = w.dim(0), length = rows > 0 ? w.numel() / rows : 0;
  check_shape(op, "codes", codes, w.shape());
  if (options.grids.size() != 1) check_rows(op, "grids", options.grids.size(), rows);
  if (!options.negated.empty()) check_rows(op, "signs", options.negated.size(), rows);
  if (!options.offsets.empty()) check_rows(op, "offsets", options.offsets.size(), rows);
  HALFTONE_ON_DEVICE(quantize_weights, w, w, options, codes);
  const float* in = w.data<float>();
  int8_t* out = codes.data<int8_t>();
  const bool per_row = options.grids.size() > 1;
  parallel_for(w.context(), rows, row_grain(length), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const Grid g = options.grids[per_row ? r : 0];
      const bool negated = !options.negated.empty() && options.negated[r];
      const int32_t factor = (1 << options.shift) * (negated ? -1 : 1);
      const int32_t offset = options.offsets.empty() ? 0 : options.offsets[r];
      quantize_row(in + r * length, length, g, factor, offset, out + r * length);
    }
  });
}

void weights_to_integers(const Tensor& codes, Tensor& y) {
  check_shape("weights_to_integers", "result", y, codes.shape());
  HALFTONE_ON_DEVICE(weights_to_integers, codes, codes, y);
  const int8_t* in = codes.data<int8_t>();
  float* out = y.data<float>();
  parallel_for(codes.context(), codes.numel(), kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = in[i];
  });
}

void weights_to_reals(const Tensor& codes, const std::vector<float>& scales,
                      const std::vector<int32_t>& offsets, Tensor& y) {
  const int64_t rows = codes.dim(0), length = rows > 0 ? codes.numel() / rows : 0;
  check_shape("weights_to_reals", "result", y, codes.shape());
  check_rows("weights_to_reals", "scales", scales.size(), rows);
  if (!offsets.empty()) check_rows("weights_to_reals", "offsets", offsets.size(), rows);
  HALFTONE_ON_DEVICE(weights_to_reals, codes, codes, scales, offsets, y);
  const int8_t* in = codes.data<int8_t>();
  float* out = y.data<float>();
  parallel_for(codes.context(), rows, row_grain(length), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const float scale = scales[r];
      const int32_t offset = offsets.empty() ? 0 : offsets[r];
      for (int64_t i = r * length; i < (r + 1) * length; ++i)
        out[i] = static_cast<float>(in[i] + offset) * scale;
    }
  });
}

}  // namespace halftone::kernels
