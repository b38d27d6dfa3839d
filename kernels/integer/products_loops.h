// Plain loops of products.h that every body takes from here, compiled for its instruction set.
// Include after the target and inside a namespace of the body's own.

// Sums of one pixel to their codes, in the channels' order.
inline void to_codes(const int32_t* sums, const float* multiplier, int32_t vectors,
                     int32_t channels, const CodeRange& range, uint8_t* codes) {
  const auto low = static_cast<float>(range.low - range.zero);
  const auto high = static_cast<float>(range.high - range.zero);
  uint8_t made[kSlabVectors * kLanes];
  for (int32_t i = 0; i < vectors * kLanes; ++i) {
    float t = rintf(static_cast<float>(sums[i]) * multiplier[i]);
    t = t > low ? t : low;
    t = t < high ? t : high;
    made[i] = static_cast<uint8_t>(static_cast<int32_t>(t) + range.zero);
  }
  for (int32_t v = 0; v < vectors; ++v) {
    for (int32_t lane = 0; lane < kLanes; lane += 4) {
      const int32_t channel = channel_of(vectors, v, lane);
      for (int32_t j = 0; j < 4; ++j) {
        if (channel + j < channels) codes[channel + j] = made[v * kLanes + lane + j];
      }
    }
  }
}

inline void to_reals(const int32_t* sums, const float* multiplier, int32_t channels,
                     const RealRange& range, float* reals) {
  for (int32_t i = 0; i < channels; ++i) {
    float t = static_cast<float>(sums[i]) * multiplier[i];
    t = t < range.low ? range.low : t;
    reals[i] = t > range.high ? range.high : t;
  }
}

// Modulo 2^32.
inline void add_offsets(const Slab& s, int64_t pixel, int32_t* sums) {
  if (s.window == nullptr) return;
  const auto window = static_cast<uint32_t>(s.window[pixel]);
  for (int32_t i = 0; i < s.vectors * kLanes; ++i) {
    sums[i] = static_cast<int32_t>(static_cast<uint32_t>(sums[i]) +
                                   window * static_cast<uint32_t>(s.offset[i]));
  }
}

// Sums of pixel p to where the slab wants them.
inline void finish_pixel(const Slab& s, const int32_t* sums, int64_t p) {
  if (s.codes != nullptr) {
    to_codes(sums, s.multiplier, s.vectors, s.channels, s.code_range, s.codes + s.to[p]);
  } else if (s.reals != nullptr) {
    to_reals(sums, s.multiplier, s.channels, s.real_range, s.reals + s.to[p]);
  } else {
    for (int32_t i = 0; i < s.channels; ++i) s.sums[p * s.channels + i] = sums[i];
  }
}

// best[i] = the largest of sums ^ flip in the window of result (y, x); flipped back.
inline void pool_pixel(const PooledSlab& s, int32_t y, int32_t x, int32_t* best) {
  const int32_t width = s.vectors * kLanes, top = y * s.pool.stride_h - s.pool.pad_h,
                left = x * s.pool.stride_w - s.pool.pad_w;
  const int32_t bottom = top + s.pool.kernel_h < s.height ? top + s.pool.kernel_h : s.height;
  const int32_t right = left + s.pool.kernel_w < s.width ? left + s.pool.kernel_w : s.width;
  for (int32_t i = 0; i < width; ++i) best[i] = INT32_MIN;
  for (int32_t row = top > 0 ? top : 0; row < bottom; ++row) {
    for (int32_t column = left > 0 ? left : 0; column < right; ++column) {
      const int32_t* sum = s.sums + (int64_t{row - s.first_row} * s.width + column) * width;
      for (int32_t i = 0; i < width; ++i) {
        const int32_t v = sum[i] ^ s.flip[i];
        best[i] = v > best[i] ? v : best[i];
      }
    }
  }
  for (int32_t i = 0; i < width; ++i) best[i] ^= s.flip[i];
}

template <class Finish>
void pool_rows(const PooledSlab& s, Finish finish) {
  for (int32_t y = s.first; y < s.last; ++y) {
    for (int32_t x = 0; x < s.out_width; ++x) {
      int32_t best[kSlabVectors * kLanes];
      pool_pixel(s, y, x, best);
      finish(best, y * s.to.row + x * s.to.column);
    }
  }
}

inline void finish_pooled(const PooledSlab& s) {
  pool_rows(s, [&](const int32_t* best, int64_t to) {
    if (s.codes != nullptr) {
      to_codes(best, s.multiplier, s.vectors, s.channels, s.code_range, s.codes + to);
    } else {
      to_reals(best, s.multiplier, s.channels, s.real_range, s.reals + to);
    }
  });
}

// The sums of 64 channels of one pixel, in a slab's order.
inline void depthwise_sums(const Depthwise& d, const uint8_t* x, int32_t count,
                           const int8_t* weights, const int32_t* start, int32_t* sums) {
  const int32_t quads = (d.kernel_h + kQuad - 1) / kQuad;
  for (int32_t i = 0; i < kDepthwiseBlock; ++i) sums[i] = start[i];
  for (int32_t j = 0; j < d.kernel_w; ++j) {
    for (int32_t i = 0; i < d.kernel_h; ++i) {
      const uint8_t* tap = x + i * d.tap_row + j * d.tap_column;
      const int8_t* w =
          weights + (int64_t{j} * quads + i / kQuad) * kDepthwiseBlock * kQuad + i % kQuad;
      uint8_t taps[kDepthwiseBlock] = {};
      memcpy(taps, tap, static_cast<size_t>(count));
      for (int32_t v = 0; v < kSlabVectors; ++v) {
        for (int32_t lane = 0; lane < kLanes; ++lane) {
          const int32_t at = v * kLanes + lane;
          sums[at] += int32_t{taps[channel_of(kSlabVectors, v, lane)]} * w[at * kQuad];
        }
      }
    }
  }
}

// sums += offset * (the sum of the window's codes), modulo 2^32.
inline void add_depthwise_offsets(const Depthwise& d, const uint8_t* x, int32_t count,
                                  const int32_t* offset, int32_t* sums) {
  int32_t window[kDepthwiseBlock] = {};
  for (int32_t j = 0; j < d.kernel_w; ++j) {
    for (int32_t i = 0; i < d.kernel_h; ++i) {
      const uint8_t* tap = x + i * d.tap_row + j * d.tap_column;
      for (int32_t c = 0; c < count; ++c) window[c] += tap[c];
    }
  }
  for (int32_t v = 0; v < kSlabVectors; ++v) {
    for (int32_t lane = 0; lane < kLanes; ++lane) {
      const int32_t at = v * kLanes + lane;
      const auto sum = static_cast<uint32_t>(window[channel_of(kSlabVectors, v, lane)]);
      sums[at] = static_cast<int32_t>(static_cast<uint32_t>(sums[at]) +
                                      sum * static_cast<uint32_t>(offset[at]));
    }
  }
}

inline void depthwise(const Depthwise& d) {
  const int64_t quads = (d.kernel_h + kQuad - 1) / kQuad;
  const int64_t block_weights = d.kernel_w * quads * kDepthwiseBlock * kQuad;
  for (int64_t p = d.first * d.width; p < d.last * d.width; ++p) {
    const int64_t row = p / d.width, column = p % d.width;
    const int64_t image = row / d.height, y = row % d.height;
    const uint8_t* x = d.x + image * d.from.image + y * d.from.row + column * d.from.column;
    uint8_t* codes = d.codes + image * d.to.image + y * d.to.row + column * d.to.column;
    for (int32_t c = 0, block = 0; c < d.channels; c += kDepthwiseBlock, ++block) {
      const int32_t count = d.channels - c < kDepthwiseBlock ? d.channels - c : kDepthwiseBlock;
      int32_t sums[kDepthwiseBlock];
      depthwise_sums(d, x + c, count, d.weights + block * block_weights,
                     d.start + block * kDepthwiseBlock, sums);
      if (d.offset != nullptr)
        add_depthwise_offsets(d, x + c, count, d.offset + block * kDepthwiseBlock, sums);
      to_codes(sums, d.multiplier + block * kDepthwiseBlock, kSlabVectors, count, d.code_range,
               codes + c);
    }
  }
}
