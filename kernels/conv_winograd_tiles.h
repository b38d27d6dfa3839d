// The inner loops of conv_winograd.h, for the instruction set of conv_vec.h.
#pragma once

#include <utility>

#include "kernels/conv_vec.h"
#include "kernels/conv_winograd.h"

namespace halftone::kernels::HALFTONE_CONV_NAMESPACE {

// B^T d: row i holds the coefficients of the product of all points' factors but the i-th.
inline void winograd_spread(const Vec (&d)[6], Vec (&t)[6]) {
  const Vec b = Vec::all(-1.5f), half = Vec::all(0.5f), two = Vec::all(2.0f);
  Vec q[4];  // (x - 2) (x + 1/2) = x^2 - 3/2 x - 1, times 1, x, x^2, x^3
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) q[i] = Vec::sub(Vec::fma(b, d[i + 1], d[i + 2]), d[i]);
  const Vec even = Vec::sub(d[4], d[2]), odd = Vec::sub(d[3], d[1]);  // x^2 - 1, times x^2, x
  t[0] = Vec::sub(q[2], q[0]);
  t[1] = Vec::add(q[2], q[1]);
  t[2] = Vec::sub(q[2], q[1]);
  t[3] = Vec::fma(half, odd, even);
  t[4] = Vec::fnma(two, odd, even);
  t[5] = Vec::sub(q[3], q[1]);
}

// B^T of one column of pixels.
struct WinogradColumn {
  Vec t[6];

  static WinogradColumn load(const WinogradInput& job, int64_t column, int64_t channel) {
    const bool inside = column >= 0 && column < job.width;
    const int64_t at = column * job.channels + channel;
    Vec d[6];
#pragma GCC unroll 6
    for (int r = 0; r < 6; ++r) d[r] = inside ? Vec::load(job.rows[r] + at) : Vec::zero();
    WinogradColumn out;
    winograd_spread(d, out.t);
    return out;
  }
};

// Adjacent tiles share two of their six columns.
inline void winograd_input(const WinogradInput& job) {
  for (int64_t channel = 0; channel < job.channels; channel += Vec::kLanes) {
    float* to = job.to + channel / Vec::kLanes * job.next_vector;
    WinogradColumn columns[6];
    columns[4] = WinogradColumn::load(job, job.column, channel);
    columns[5] = WinogradColumn::load(job, job.column + 1, channel);
    for (int64_t tile = 0; tile < job.tiles; ++tile, to += Vec::kLanes) {
      columns[0] = columns[4];
      columns[1] = columns[5];
      for (int s = 2; s < 6; ++s)
        columns[s] = WinogradColumn::load(job, job.column + 4 * tile + s, channel);
      for (int r = 0; r < 6; ++r) {
        Vec row[6], v[6];
#pragma GCC unroll 6
        for (int s = 0; s < 6; ++s) row[s] = columns[s].t[r];
        winograd_spread(row, v);
#pragma GCC unroll 6
        for (int s = 0; s < 6; ++s) v[s].store(to + (6 * r + s) * job.next_position);
      }
    }
  }
}

// G g: powers of the points, over the product of their differences to the others.
inline void winograd_filter(const Vec (&g)[3], Vec (&u)[6]) {
  const Vec ends = Vec::add(g[0], g[2]), two = Vec::all(2.0f), half = Vec::all(-0.5f);
  u[0] = g[0];
  u[1] = Vec::mul(Vec::all(-1.0f / 3), Vec::add(ends, g[1]));
  u[2] = Vec::mul(Vec::all(1.0f / 3), Vec::sub(ends, g[1]));
  u[3] = Vec::mul(Vec::all(1.0f / 15), Vec::fma(two, Vec::fma(two, g[2], g[1]), g[0]));
  u[4] = Vec::mul(Vec::all(-16.0f / 15), Vec::fma(half, Vec::fma(half, g[2], g[1]), g[0]));
  u[5] = g[2];
}

// A tap of one vector of outputs.
inline Vec winograd_tap(const WinogradWeights& job, const float* from) {
  if (job.next_output == 1) return Vec::load(from);
  float lanes[Vec::kLanes];
  for (int o = 0; o < Vec::kLanes; ++o) lanes[o] = from[o * job.next_output];
  return Vec::load(lanes);
}

template <int V>
void winograd_weights(const WinogradWeights& job) {
  for (int64_t i = 0; i < job.inputs * V; ++i) {
    const float* from = job.from + i / V * job.next_input + i % V * Vec::kLanes * job.next_output;
    Vec rows[3][6];
    for (int r = 0; r < 3; ++r) {
      Vec taps[3];
      for (int s = 0; s < 3; ++s) taps[s] = winograd_tap(job, from + r * job.row + s * job.column);
      winograd_filter(taps, rows[r]);
    }
    for (int s = 0; s < 6; ++s) {
      const Vec column[3] = {rows[0][s], rows[1][s], rows[2][s]};
      Vec u[6];
      winograd_filter(column, u);
      for (int r = 0; r < 6; ++r)
        u[r].store(job.to + (6 * r + s) * job.next_position + i * Vec::kLanes);
    }
  }
}

// P tiles, V vectors of output channels.
template <int P, int V>
void winograd_product_tile(const WinogradProduct& job, int64_t tile) {
  Vec acc[P][V];
#pragma GCC unroll 32
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) acc[p][v] = Vec::zero();
  }
  const float *w = job.weights, *vector = job.input + tile * Vec::kLanes;
  for (int64_t i = 0; i < job.vectors; ++i, vector += job.next_vector) {
    const float* x = vector;
    for (int lane = 0; lane < Vec::kLanes; ++lane, ++x, w += V * Vec::kLanes) {
      Vec weight[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) weight[v] = Vec::load(w + v * Vec::kLanes);
#pragma GCC unroll 32
      for (int p = 0; p < P; ++p) {
        const Vec value = Vec::broadcast(x + p * Vec::kLanes);
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) acc[p][v] = Vec::fma(value, weight[v], acc[p][v]);
      }
    }
  }
  float* sums = job.sums + tile * Vec::kLanes;
#pragma GCC unroll 32
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) acc[p][v].store(sums + v * job.next_sums + p * Vec::kLanes);
  }
}

using WinogradTile = void (*)(const WinogradProduct&, int64_t);

// Entry P of the table takes P tiles.
template <int V, class Sequence>
struct WinogradTiles;
template <int V, int... P>
struct WinogradTiles<V, std::integer_sequence<int, P...>> {
  static constexpr WinogradTile kTable[] = {nullptr, winograd_product_tile<P + 1, V>...};
};

template <int V>
void winograd_product(const WinogradProduct& job) {
  constexpr int kMax = (Vec::kRegisters - 2 - V) / V;  // accumulators beside an input and weights
  using Tiles = WinogradTiles<V, std::make_integer_sequence<int, kMax>>;
  const int64_t groups = (job.tiles + kMax - 1) / kMax;
  for (int64_t i = 0; i < groups; ++i) {
    const int64_t begin = job.tiles * i / groups, end = job.tiles * (i + 1) / groups;
    Tiles::kTable[end - begin](job, begin);
  }
}

// A^T m: powers of the points.
inline void winograd_fold(const Vec (&m)[6], Vec (&y)[4]) {
  const Vec sum = Vec::add(m[1], m[2]), difference = Vec::sub(m[1], m[2]);
  y[0] = Vec::add(Vec::add(m[0], sum), Vec::add(m[3], m[4]));
  y[1] = Vec::fma(Vec::all(-0.5f), m[4], Vec::fma(Vec::all(2.0f), m[3], difference));
  y[2] = Vec::fma(Vec::all(0.25f), m[4], Vec::fma(Vec::all(4.0f), m[3], sum));
  y[3] =
      Vec::fma(Vec::all(-0.125f), m[4], Vec::fma(Vec::all(8.0f), m[3], Vec::add(difference, m[5])));
}

// Folded columns of one tile to its pixels.
inline void winograd_write(const WinogradOutput& job, const Vec (&columns)[4][6], Vec bias,
                           int64_t pixels, float* to) {
#pragma GCC unroll 4
  for (int s = 0; s < 4; ++s, to += job.next_pixel) {
    if (s >= pixels) return;
    Vec y[4];
    winograd_fold(columns[s], y);
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      if (r >= job.rows) break;
      float* at = to + r * job.next_row;
      const Vec value = Vec::add(y[r], bias);
      (job.adds ? Vec::add(Vec::load(at), value) : value).store(at);
    }
  }
}

template <int V>
void winograd_output(const WinogradOutput& job) {
  for (int v = 0; v < V; ++v) {
    const float* m = job.sums + v * job.next_vector;
    float* to = job.to + v * Vec::kLanes;
    const Vec bias = job.bias == nullptr ? Vec::zero() : Vec::load(job.bias + v * Vec::kLanes);
    for (int64_t tile = 0; tile < job.tiles; ++tile, m += Vec::kLanes, to += 4 * job.next_pixel) {
      Vec columns[4][6];
#pragma GCC unroll 6
      for (int r = 0; r < 6; ++r) {
        Vec row[6], folded[4];
#pragma GCC unroll 6
        for (int s = 0; s < 6; ++s) row[s] = Vec::load(m + (6 * r + s) * job.next_position);
        winograd_fold(row, folded);
#pragma GCC unroll 4
        for (int s = 0; s < 4; ++s) columns[s][r] = folded[s];
      }
      winograd_write(job, columns, bias, job.pixels - 4 * tile, to);
    }
  }
}

}  // namespace halftone::kernels::HALFTONE_CONV_NAMESPACE
