#include "kernels/quantize.h"

#include <cmath>
#include <limits>

#include "kernels/channel_tiles.h"

namespace halftone::kernels {
namespace {

using quant_math::Grid;
using quant_math::Rounding;

constexpr int64_t kGrain = 16384;

// Rows of a weight that are worth a thread's while.
int64_t row_grain(int64_t length) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(length, 1));
}

// A tensor seen as (outer, channels, inner) around the axis of its grids.
struct Layout {
  Layout(const Tensor& x, const Grids& grids, const char* op) {
    if (grids.axis < 0) {
      inner = x.numel();
      check(op, static_cast<int64_t>(grids.list.size()));
      return;
    }
    for (int a = 0; a < x.rank(); ++a) {
      (a < grids.axis ? outer : a == grids.axis ? channels : inner) *= x.dim(a);
    }
    check(op, static_cast<int64_t>(grids.list.size()));
  }
  void check(const char* op, int64_t found) const {
    if (found == channels) return;
    throw HALFTONE_ERROR(op)
        .expected(std::to_string(channels) + " scales")
        .found(std::to_string(found));
  }
  int64_t outer = 1, channels = 1, inner = 1;
};

// body(i, grid) for every element, a run of one grid at a time or a tile of channels.
template <class Body>
void for_grids(const Tensor& x, const Grids& grids, const char* op, Body body) {
  const Layout layout(x, grids, op);
  if (layout.inner == 1 && layout.channels > 1) {
    const ChannelTiles tiles(x.numel(), layout.channels);
    std::vector<float> scale(tiles.width);
    std::vector<int32_t> zero_point(tiles.width);
    for (int64_t j = 0; j < tiles.width; ++j) {
      scale[j] = grids.list[j % layout.channels].scale;
      zero_point[j] = grids.list[j % layout.channels].zero_point;
    }
    const float* s = scale.data();
    const int32_t* z = zero_point.data();
    const int32_t qmin = grids.list[0].qmin, qmax = grids.list[0].qmax;
    tiles.for_chunks(x.context(), [=](int64_t, int64_t begin, int64_t end) {
      for_elements(tiles, begin, end, [=](int64_t i, int64_t j) {
        body(i, Grid{s[j], z[j], qmin, qmax});
      });
    });
    return;
  }
  parallel_for(x.context(), x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t run = begin / layout.inner;
      const int64_t stop = std::min(end, (run + 1) * layout.inner);
      const Grid g = grids.list[run % layout.channels];
      for (int64_t i = begin; i < stop; ++i) body(i, g);
      begin = stop;
    }
  });
}

void widen(Range& r, float low, float high) {
  r.low = low < r.low ? low : r.low;
  r.high = high > r.high ? high : r.high;
}

// widen() never takes a NaN in: this one stays.
void poison(Range& r) { r.low = r.high = std::numeric_limits<float>::quiet_NaN(); }

const Range kNothing{std::numeric_limits<float>::infinity(),
                     -std::numeric_limits<float>::infinity()};

// Ranges of the columns of x seen as (rows, channels); channels 1: of everything.
std::vector<Range> column_ranges(const Context& context, const float* x, int64_t numel,
                                 int64_t channels) {
  const ChannelTiles tiles(numel, channels);
  std::vector<float> low(tiles.chunks * tiles.width, kNothing.low);
  std::vector<float> high(tiles.chunks * tiles.width, kNothing.high);
  std::vector<int32_t> nan(tiles.chunks * tiles.width, 0);
  tiles.for_chunks(context, [&](int64_t k, int64_t begin, int64_t end) {
    float* lo = &low[k * tiles.width];
    float* hi = &high[k * tiles.width];
    int32_t* bad = &nan[k * tiles.width];
    for_elements(tiles, begin, end, [=](int64_t i, int64_t j) {
      lo[j] = x[i] < lo[j] ? x[i] : lo[j];
      hi[j] = x[i] > hi[j] ? x[i] : hi[j];
      bad[j] |= x[i] != x[i];  // both comparisons above pass NaN by
    });
  });
  std::vector<Range> out(channels, kNothing);
  for (size_t i = 0; i < low.size(); ++i) widen(out[i % tiles.width % channels], low[i], high[i]);
  for (size_t i = 0; i < nan.size(); ++i) {
    if (nan[i] != 0) poison(out[i % tiles.width % channels]);
  }
  return out;
}

}  // namespace

std::vector<Range> observe_ranges(const Tensor& x, int axis) {
  Grids grids;
  grids.axis = axis;
  grids.list.resize(axis < 0 ? 1 : x.dim(axis));
  const Layout layout(x, grids, "observe_ranges");
  const float* values = x.data<float>();
  if (axis < 0) return column_ranges(x.context(), values, x.numel(), 1);
  if (layout.inner == 1) return column_ranges(x.context(), values, x.numel(), layout.channels);
  std::vector<Range> out(layout.channels, kNothing);
  for (int64_t run = 0; run < layout.outer * layout.channels; ++run) {
    const Range r = column_ranges(x.context(), values + run * layout.inner, layout.inner, 1)[0];
    Range& all = out[run % layout.channels];
    r.low == r.low ? widen(all, r.low, r.high) : poison(all);
  }
  return out;
}

void fake_quantize(const Tensor& x, const Grids& grids, Tensor& y) {
  const float* in = x.data<float>();
  float* out = y.data<float>();
  if (grids.rounding == Rounding::kOnnx) {
    for_grids(x, grids, "fake_quantize", [=](int64_t i, const Grid& g) {
      const float z = static_cast<float>(g.zero_point);
      const float t = std::rint(in[i] / g.scale);
      out[i] = g.scale * quant_math::clamp_nan_low(t, g.qmin - z, g.qmax - z);
    });
  } else {
    for_grids(x, grids, "fake_quantize", [=](int64_t i, const Grid& g) {
      out[i] = quant_math::dequantize(quant_math::quantize_nni(in[i], g), g);
    });
  }
}

void fake_quantize_backward(const Tensor& dy, const Tensor& x, const Grids& grids, Tensor& dx) {
  const float* in = x.data<float>();
  const float* up = dy.data<float>();
  float* out = dx.data<float>();
  if (grids.rounding == Rounding::kOnnx) {
    for_grids(x, grids, "fake_quantize_backward", [=](int64_t i, const Grid& g) {
      const float u = up[i];  // read in any case: vectorises
      out[i] = quant_math::ste_mask(in[i], g) ? u : 0.0f;
    });
  } else {
    for_grids(x, grids, "fake_quantize_backward", [=](int64_t i, const Grid& g) {
      const float u = up[i];
      out[i] = quant_math::ste_mask_nni(in[i], g) ? u : 0.0f;
    });
  }
}

void quantize_to_codes(const Tensor& x, const Grid& grid, Rounding rounding, Tensor& codes) {
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

void codes_to_integers(const Tensor& codes, int32_t zero_point, Tensor& y) {
  const uint8_t* in = codes.data<uint8_t>();
  float* out = y.data<float>();
  parallel_for(codes.context(), codes.numel(), kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = static_cast<float>(in[i] - zero_point);
  });
}

void quantize_weights(const Tensor& w, const WeightCodes& options, Tensor& codes) {
  const int64_t rows = w.dim(0), length = rows > 0 ? w.numel() / rows : 0;
  const float* in = w.data<float>();
  int8_t* out = codes.data<int8_t>();
  const bool per_row = options.grids.size() > 1;
  parallel_for(w.context(), rows, row_grain(length), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const Grid g = options.grids[per_row ? r : 0];
      const bool negated = !options.negated.empty() && options.negated[r];
      const int32_t factor = (1 << options.shift) * (negated ? -1 : 1);
      for (int64_t i = r * length; i < (r + 1) * length; ++i) {
        out[i] = static_cast<int8_t>(quant_math::quantize(in[i], g) * factor);
      }
    }
  });
}

void weights_to_integers(const Tensor& codes, Tensor& y) {
  const int8_t* in = codes.data<int8_t>();
  float* out = y.data<float>();
  parallel_for(codes.context(), codes.numel(), kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = in[i];
  });
}

void weights_to_reals(const Tensor& codes, const std::vector<float>& scales, Tensor& y) {
  const int64_t rows = codes.dim(0), length = rows > 0 ? codes.numel() / rows : 0;
  const int8_t* in = codes.data<int8_t>();
  float* out = y.data<float>();
  parallel_for(codes.context(), rows, row_grain(length), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const float scale = scales[r];
      for (int64_t i = r * length; i < (r + 1) * length; ++i) out[i] = in[i] * scale;
    }
  });
}

void weight_gradient(const Tensor& raw, const Tensor& w, const WeightCodes& options, float factor,
                     Tensor& dw) {
  const int64_t rows = w.dim(0), length = rows > 0 ? w.numel() / rows : 0;
  const float *in = w.data<float>(), *up = raw.data<float>();
  float* out = dw.data<float>();
  const bool per_row = options.grids.size() > 1;
  parallel_for(w.context(), rows, row_grain(length), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const Grid g = options.grids[per_row ? r : 0];
      for (int64_t i = r * length; i < (r + 1) * length; ++i) {
        const float u = up[i] * factor;
        out[i] = quant_math::ste_mask(in[i], g) ? u : 0.0f;
      }
    }
  });
}

}  // namespace halftone::kernels
