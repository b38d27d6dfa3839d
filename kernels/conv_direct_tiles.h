// The register tiles of conv_direct.h, for the instruction set of conv_vec.h.
#pragma once

#include <utility>

#include "kernels/conv_direct.h"
#include "kernels/conv_vec.h"

namespace halftone::kernels::HALFTONE_CONV_NAMESPACE {

// Accumulators of a tile with V vectors of channels; operands fit the other registers.
template <int V>
constexpr int kRoom = (Vec::kRegisters - (V == 1 ? 2 : 4)) / V;
// Pixels of a forward tile: enough to hide the latency of an addition.
template <int V>
constexpr int kMaxPixels = kRoom<V> < 16 ? kRoom<V> : 16;

// Kernel rows of an output row that lie within the image.
inline int64_t first_tap(const RowClip& c, int64_t row) {
  const int64_t above = c.top - row * c.stride;
  return above > 0 ? above : 0;
}
inline int64_t end_tap(const RowClip& c, int64_t row, int64_t taps) {
  const int64_t end = c.height + c.top - row * c.stride;
  return end < taps ? end : taps;
}

// The inputs of a tile under one kernel row. Its first K / 2 pixels are read at `left`, its last
// K / 2 at `right`, the others at `x`: so zeros stand in for what lies outside the image.
struct TileRow {
  const float *left, *x, *right;
};

// acc (P pixels, V vectors) += x w under one kernel row; x steps by `step` from pixel to pixel.
template <int P, int V, int K>
struct KernelRow {  // K columns, step = c: an input serves K outputs
  static void add(const TileRow& in, const float* w, int64_t, int64_t step, Vec (&acc)[P][V]) {
    // One pointer serves three pixels: x86 addresses base, base + step and base + 2 step.
    const float* base[(P + K + 1) / 3];
#pragma GCC unroll 32
    for (int i = 0; i < (P + K + 1) / 3; ++i) base[i] = in.x + 3 * i * step;
    for (int64_t c = 0; c < step; ++c, w += V * Vec::kLanes) {
      Vec weight[K][V];
#pragma GCC unroll 32
      for (int k = 0; k < K; ++k) {
#pragma GCC unroll 32
        for (int v = 0; v < V; ++v) {
          weight[k][v] = Vec::load(w + (k * step * V + v) * Vec::kLanes);
        }
      }
#pragma GCC unroll 32
      for (int j = 0; j < P + K - 1; ++j) {
        const float* from = j < K / 2        ? in.left + j * step
                            : j >= P + K / 2 ? in.right + (j - P - K / 2) * step
                                             : base[j / 3] + j % 3 * step;
        const Vec value = Vec::broadcast(from + c);
#pragma GCC unroll 32
        for (int k = 0; k < K; ++k) {
          if (j < k || j - k >= P) continue;
#pragma GCC unroll 32
          for (int v = 0; v < V; ++v) acc[j - k][v] = Vec::fma(value, weight[k][v], acc[j - k][v]);
        }
      }
    }
  }
};
template <int P, int V>
struct KernelRow<P, V, 0> {
  static void add(const TileRow& in, const float* w, int64_t run, int64_t step, Vec (&acc)[P][V]) {
    const float* base[(P + 2) / 3];
#pragma GCC unroll 32
    for (int i = 0; i < (P + 2) / 3; ++i) base[i] = in.x + 3 * i * step;
    for (int64_t k = 0; k < run; ++k, w += V * Vec::kLanes) {
      Vec weight[V];
#pragma GCC unroll 32
      for (int v = 0; v < V; ++v) weight[v] = Vec::load(w + v * Vec::kLanes);
#pragma GCC unroll 32
      for (int p = 0; p < P; ++p) {
        const Vec value = Vec::broadcast(base[p / 3] + p % 3 * step + k);
#pragma GCC unroll 32
        for (int v = 0; v < V; ++v) acc[p][v] = Vec::fma(value, weight[v], acc[p][v]);
      }
    }
  }
};

// P adjacent output pixels, V vectors of channels from `channel` on; the last may be partial. The
// bias comes last, as where a matrix product is the convolution: sums that are equal stay equal.
template <int P, int V, int K>
void forward_tile(const Correlation& job, int64_t row, int64_t pixel, int64_t channel) {
  constexpr int64_t kWidth = V * Vec::kLanes;  // of the slab of weights
  Vec acc[P][V];
#pragma GCC unroll 32
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 32
    for (int v = 0; v < V; ++v) acc[p][v] = Vec::zero();
  }
  const int64_t step = job.input_pixel;
  const int64_t begin = first_tap(job.clip, row), end = end_tap(job.clip, row, job.taps);
  const float* w = job.weights + (channel * job.taps + begin * kWidth) * job.run;
  for (int64_t tap = begin; tap < end; ++tap) {
    const float* x = job.input + row * job.input_row + pixel * step + tap * job.tap_row;
    TileRow in{x, x, x + (P + K / 2) * step};
    if (job.zeros != nullptr && pixel == 0) in.left = job.zeros;
    if (job.zeros != nullptr && pixel + P == job.pixels) in.right = job.zeros;
    KernelRow<P, V, K>::add(in, w, job.run, step, acc);
    w += job.run * kWidth;
  }
  float* out = job.output + row * job.output_row + pixel * job.output_pixel + channel;
#pragma GCC unroll 32
  for (int v = 0; v < V; ++v) {
    const int64_t left = job.channels - channel - v * Vec::kLanes;
    const Vec bias = Vec::load(job.bias + channel + v * Vec::kLanes);
#pragma GCC unroll 32
    for (int p = 0; p < P; ++p) {
      acc[p][v] = Vec::add(acc[p][v], bias);
      float* to = out + p * job.output_pixel + v * Vec::kLanes;
      if (job.adds) {
        const int count = left < Vec::kLanes ? static_cast<int>(left) : Vec::kLanes;
        acc[p][v] = Vec::add(Vec::load_first(to, count), acc[p][v]);
      }
      if (left >= Vec::kLanes) {
        acc[p][v].store(to);
      } else {
        acc[p][v].store_first(to, static_cast<int>(left));
      }
    }
  }
}

using ForwardTile = void (*)(const Correlation&, int64_t, int64_t, int64_t);

// Entry P of the table is the tile of P pixels.
// (No std::array: its functions, compiled for this instruction set, could be linked in elsewhere.)
template <int V, int K, class Sequence>
struct ForwardTiles;
template <int V, int K, int... P>
struct ForwardTiles<V, K, std::integer_sequence<int, P...>> {
  static constexpr ForwardTile kTable[] = {nullptr, forward_tile<P + 1, V, K>...};
};

template <int V, int K>
void correlate_channels(const Correlation& job, int64_t row, int64_t channel) {
  // K columns hold K * V weights in registers.
  constexpr int kLeft = (Vec::kRegisters - 2) / V - K,
                kMax = K == 0 || kLeft > kMaxPixels<V> ? kMaxPixels<V> : kLeft;
  using Tiles = ForwardTiles<V, K, std::make_integer_sequence<int, kMax>>;
  const int64_t tiles = (job.pixels + kMax - 1) / kMax;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t begin = job.pixels * i / tiles, end = job.pixels * (i + 1) / tiles;
    Tiles::kTable[end - begin](job, row, begin, channel);
  }
}

// Slab by slab of weights, so that one stays in the second-level cache for a whole image.
template <int K>
void correlate_columns(const Correlation& job) {
  int64_t channel = 0;
  for (; job.channels - channel > Vec::kLanes; channel += 2 * Vec::kLanes) {
    for (int64_t row = 0; row < job.rows; ++row) correlate_channels<2, K>(job, row, channel);
  }
  for (int64_t row = 0; channel < job.channels && row < job.rows; ++row) {
    correlate_channels<1, K>(job, row, channel);
  }
}

constexpr int kMaxColumns = Vec::kRegisters == 32 ? 5 : 3;

inline void correlate(const Correlation& job) {
  if (job.columns == 3) {
    correlate_columns<3>(job);
  } else if (job.columns == 5 && kMaxColumns >= 5) {
    correlate_columns<5>(job);
  } else {
    correlate_columns<0>(job);
  }
}

// Where a weight tile stands: kernel row, first float under it, first channel; image rows.
struct WeightTile {
  int64_t tap, k, channel, first_row, last_row;
};

// R kernel rows x T floats x V vectors of channels, summed over all pixels of some image rows.
template <int R, int T, int V>
void weight_tile(const WeightProduct& job, const WeightTile& at) {
  const int64_t padded = (job.channels + Vec::kLanes - 1) / Vec::kLanes * Vec::kLanes;
  const int64_t left = job.channels - at.channel - (V - 1) * Vec::kLanes;
  const int last = static_cast<int>(left < Vec::kLanes ? left : Vec::kLanes);
  Vec acc[R][T][V];
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 32
      for (int v = 0; v < V; ++v) acc[r][t][v] = Vec::zero();
    }
  }
  for (int64_t row = at.first_row; row < at.last_row; ++row) {
    if (at.tap + R <= first_tap(job.clip, row) || at.tap >= end_tap(job.clip, row, job.taps))
      continue;
    const float* x = job.input + row * job.input_row + at.tap * job.tap_row + at.k;
    const float* dy = job.dy + row * job.pixels * job.channels + at.channel;
    for (int64_t p = 0; p < job.pixels; ++p, x += job.input_pixel, dy += job.channels) {
      Vec g[V];
#pragma GCC unroll 32
      for (int v = 0; v + 1 < V; ++v) g[v] = Vec::load(dy + v * Vec::kLanes);
      g[V - 1] = Vec::load_first(dy + (V - 1) * Vec::kLanes, last);
#pragma GCC unroll 32
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
        for (int t = 0; t < T; ++t) {
          const Vec value = Vec::broadcast(x + r * job.tap_row + t);
#pragma GCC unroll 32
          for (int v = 0; v < V; ++v) acc[r][t][v] = Vec::fma(value, g[v], acc[r][t][v]);
        }
      }
    }
  }
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
    for (int t = 0; t < T; ++t) {
      float* sums = job.sums + ((at.tap + r) * job.run + at.k + t) * padded + at.channel;
#pragma GCC unroll 32
      for (int v = 0; v < V; ++v) {
        float* to = sums + v * Vec::kLanes;
        Vec::add(Vec::load(to), acc[r][t][v]).store(to);
      }
    }
  }
}

using WeightTileFn = void (*)(const WeightProduct&, const WeightTile&);

template <int R, int V, class Sequence>
struct WeightTiles;
template <int R, int V, int... T>
struct WeightTiles<R, V, std::integer_sequence<int, T...>> {
  static constexpr WeightTileFn kTable[] = {nullptr, weight_tile<R, T + 1, V>...};
};

// All taps of the rows [first, last), R kernel rows at a time.
template <int R, int V>
void weight_channels(const WeightProduct& job, int64_t channel, int64_t first, int64_t last) {
  constexpr int kMax = kRoom<V> / R;
  using Tiles = WeightTiles<R, V, std::make_integer_sequence<int, kMax>>;
  const int64_t tiles = (job.run + kMax - 1) / kMax;
  for (int64_t tap = 0; tap < job.taps; tap += R) {
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t begin = job.run * i / tiles, end = job.run * (i + 1) / tiles;
      Tiles::kTable[end - begin](job, {tap, begin, channel, first, last});
    }
  }
}

// Several kernel rows per tile when one has too few floats to fill the registers.
inline void weight_single(const WeightProduct& job, int64_t channel, int64_t first, int64_t last) {
  if (job.taps % 5 == 0 && 5 * job.run <= kRoom<1>) {
    weight_channels<5, 1>(job, channel, first, last);
  } else if (job.taps % 3 == 0 && 3 * job.run <= kRoom<1>) {
    weight_channels<3, 1>(job, channel, first, last);
  } else {
    weight_channels<1, 1>(job, channel, first, last);
  }
}

inline void weight_product(const WeightProduct& job) {
  // Bands of rows whose patches and gradients stay in the first-level cache.
  constexpr int64_t kBandFloats = 6144;
  const int64_t per_row = job.pixels * (job.channels + job.input_pixel);
  const int64_t band = per_row >= kBandFloats ? 1 : kBandFloats / per_row;
  for (int64_t first = 0; first < job.rows; first += band) {
    const int64_t last = first + band < job.rows ? first + band : job.rows;
    int64_t channel = 0;
    for (; job.channels - channel > Vec::kLanes; channel += 2 * Vec::kLanes) {
      weight_channels<1, 2>(job, channel, first, last);
    }
    if (channel < job.channels) weight_single(job, channel, first, last);
  }
}

}  // namespace halftone::kernels::HALFTONE_CONV_NAMESPACE
