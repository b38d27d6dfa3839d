// The inner loops of the weight gradient, as conv_winograd_tiles.h.
#pragma once

#include "kernels/conv_winograd_tiles.h"

namespace halftone::kernels::HALFTONE_CONV_NAMESPACE {

// Powers of the points, up to the third.
inline void winograd_spread_gradient(const Vec (&d)[4], Vec (&t)[6]) {
  const Vec four = Vec::all(4.0f), quarter = Vec::all(0.25f);
  const Vec even = Vec::add(d[0], d[2]), odd = Vec::add(d[1], d[3]);
  t[0] = d[0];
  t[1] = Vec::add(even, odd);
  t[2] = Vec::sub(even, odd);
  t[3] = Vec::fma(Vec::all(2.0f), Vec::fma(four, d[3], d[1]), Vec::fma(four, d[2], d[0]));
  t[4] = Vec::fma(Vec::all(-0.5f), Vec::fma(quarter, d[3], d[1]), Vec::fma(quarter, d[2], d[0]));
  t[5] = d[3];
}

inline void winograd_gradient(const WinogradInput& job) {
  for (int64_t channel = 0; channel < job.channels; channel += Vec::kLanes) {
    float* to = job.to + channel / Vec::kLanes * job.next_vector;
    for (int64_t tile = 0; tile < job.tiles; ++tile, to += Vec::kLanes) {
      Vec rows[6][4];
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
        const int64_t column = job.column + 4 * tile + s, at = column * job.channels + channel;
        Vec d[4], t[6];
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r)
          d[r] = column < job.width ? Vec::load(job.rows[r] + at) : Vec::zero();
        winograd_spread_gradient(d, t);
#pragma GCC unroll 6
        for (int r = 0; r < 6; ++r) rows[r][s] = t[r];
      }
#pragma GCC unroll 6
      for (int r = 0; r < 6; ++r) {
        Vec t[6];
        winograd_spread_gradient(rows[r], t);
#pragma GCC unroll 6
        for (int s = 0; s < 6; ++s) t[s].store(to + (6 * r + s) * job.next_position);
      }
    }
  }
}

// C input channels, V vectors of output channels.
template <int C, int V>
void winograd_weight_tile(const WinogradWeightProduct& job, int64_t input, int64_t output) {
  Vec acc[C][V];
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) acc[c][v] = Vec::zero();
  }
  const float* x = job.input + input / Vec::kLanes * job.next_vector + input % Vec::kLanes;
  const float* dy = job.gradient + output / Vec::kLanes * job.next_vector;
  for (int64_t tile = 0; tile < job.tiles; ++tile, x += Vec::kLanes, dy += Vec::kLanes) {
    Vec gradient[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) gradient[v] = Vec::load(dy + v * job.next_vector);
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      const Vec value = Vec::broadcast(x + c);
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) acc[c][v] = Vec::fma(value, gradient[v], acc[c][v]);
    }
  }
  float* sums = job.sums + input * job.outputs + output;
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      float* to = sums + c * job.outputs + v * Vec::kLanes;
      (job.adds ? Vec::add(Vec::load(to), acc[c][v]) : acc[c][v]).store(to);
    }
  }
}

inline void winograd_weight_product(const WinogradWeightProduct& job) {
  constexpr int kHalf = Vec::kLanes / 2;
  int64_t output = 0;
  for (; job.outputs - output > Vec::kLanes; output += 2 * Vec::kLanes) {
    for (int64_t input = 0; input < job.inputs; input += kHalf)
      winograd_weight_tile<kHalf, 2>(job, input, output);
  }
  for (int64_t input = 0; output < job.outputs && input < job.inputs; input += Vec::kLanes)
    winograd_weight_tile<Vec::kLanes, 1>(job, input, output);
}

// Powers of the points up to the second, over the product of their differences to the others.
inline void winograd_fold_weight(const Vec (&m)[6], Vec (&y)[3]) {
  const Vec third = Vec::all(1.0f / 3), a = Vec::mul(Vec::all(1.0f / 15), m[3]),
            b = Vec::mul(Vec::all(-16.0f / 15), m[4]);
  const Vec even = Vec::mul(third, Vec::sub(m[2], m[1]));
  const Vec odd = Vec::mul(Vec::all(-1.0f / 3), Vec::add(m[1], m[2]));
  y[0] = Vec::add(Vec::add(m[0], even), Vec::add(a, b));
  y[1] = Vec::fma(Vec::all(-0.5f), b, Vec::fma(Vec::all(2.0f), a, odd));
  y[2] = Vec::fma(Vec::all(0.25f), b, Vec::fma(Vec::all(4.0f), a, Vec::add(even, m[5])));
}

inline void winograd_weight_output(const float* sums, int64_t size, float* taps) {
  for (int64_t at = 0; at < size; at += Vec::kLanes) {
    Vec rows[3][6];
#pragma GCC unroll 6
    for (int s = 0; s < 6; ++s) {
      Vec column[6], folded[3];
#pragma GCC unroll 6
      for (int r = 0; r < 6; ++r) column[r] = Vec::load(sums + (6 * r + s) * size + at);
      winograd_fold_weight(column, folded);
#pragma GCC unroll 3
      for (int r = 0; r < 3; ++r) rows[r][s] = folded[r];
    }
#pragma GCC unroll 3
    for (int r = 0; r < 3; ++r) {
      Vec y[3];
      winograd_fold_weight(rows[r], y);
#pragma GCC unroll 3
      for (int s = 0; s < 3; ++s) y[s].store(taps + (3 * r + s) * size + at);
    }
  }
}

constexpr WinogradKernels kWinogradKernels{Vec::kLanes,
                                           winograd_input,
                                           {winograd_weights<1>, winograd_weights<2>},
                                           {winograd_product<1>, winograd_product<2>},
                                           {winograd_output<1>, winograd_output<2>},
                                           winograd_gradient,
                                           winograd_weight_product,
                                           winograd_weight_output};

}  // namespace halftone::kernels::HALFTONE_CONV_NAMESPACE
