/* Operations on codes. Images are (H, W, C), channels innermost.
 *
 * An accumulator becomes a code by clamp(rint(fl(fl(acc + bias) * m)), low, high) + zero, fl() one
 * rounding to binary32, half to even. HT_NO_FLOAT does the same roundings on
 * integers; where the compiler does not round float expressions to binary32, it must be defined. */
#include <float.h>
#include <string.h>

#if !defined(HT_NO_FLOAT) && \
    (!defined(FLT_EVAL_METHOD) || FLT_EVAL_METHOD != 0 || defined(__FAST_MATH__))
#error "float is not computed as IEEE binary32 here: define HT_NO_FLOAT"
#endif

typedef struct {
  int32_t height, width, channels;
} ht_image;

typedef struct {
  int32_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
} ht_window;

/* Accumulators to codes. Multipliers and the bounds of logits are bits of binary32 numbers. */
typedef struct {
  const int32_t* bias;
  const uint32_t* multiplier;
  int32_t low, high; /* less the zero point */
  uint32_t low_bits, high_bits;
  int32_t zero;
} ht_epilogue;

enum { HT_CONSTANT = 1, HT_NEGATED = 2, HT_TAKES_MIN = 4 }; /* flags of an output channel */

/* Weight i is (low + step u) << shift, u the i-th field of 1 << log2_bits bits; low is the negative
 * of the channel's zero point where there are some (else 0). */
typedef struct {
  const uint8_t *packed, *zero_points;
  int32_t log2_bits, low, step, shift;
} ht_weights;

typedef struct {
  ht_image in, out;
  ht_window window;
  int32_t groups, zero, pad; /* codes of the input: of real 0, and around the image */
  int32_t pools;             /* the largest accumulator of each window of `pool` counts */
  ht_window pool;
  ht_image unpooled;
  ht_weights weights;
  const uint8_t* flags;
  ht_epilogue epilogue;
} ht_convolution;

#ifdef HT_NO_FLOAT

/* (-1)^negative mantissa 2^exponent, mantissa <= 2^24. */
typedef struct {
  uint32_t mantissa;
  int32_t exponent, negative;
} ht_real;
typedef uint32_t ht_float; /* bits of a binary32 number */

static inline int32_t ht_bit_length(uint64_t v) {
  int32_t n = 0;
  for (; v != 0; v >>= 1) ++n;
  return n;
}

/* v / 2^shift to the nearest integer, ties to even; shift >= 0. */
static inline uint64_t ht_shift_right(uint64_t v, int32_t shift) {
  uint64_t whole, rest, half;
  if (shift == 0) return v;
  if (shift > 63) return 0;
  whole = v >> shift;
  rest = v & (((uint64_t)1 << shift) - 1);
  half = (uint64_t)1 << (shift - 1);
  return whole + (rest > half || (rest == half && (whole & 1) != 0));
}

static inline ht_real ht_scaled(int32_t v, uint32_t multiplier) {
  uint64_t magnitude = v < 0 ? 0u - (uint32_t)v : (uint32_t)v;
  const int32_t excess = ht_bit_length(magnitude) - 24;
  const int32_t biased = (int32_t)(multiplier >> 23 & 255);
  int32_t exponent = (biased != 0 ? biased : 1) - 150, drop;
  ht_real r;
  if (excess > 0) {
    magnitude = ht_shift_right(magnitude, excess);
    exponent += excess;
  }
  magnitude *= (multiplier & 0x7fffff) | (biased != 0 ? 0x800000 : 0);
  drop = ht_bit_length(magnitude) - 24;
  if (drop < -149 - exponent) drop = -149 - exponent; /* denormal results have fewer bits */
  if (drop > 0) {
    magnitude = ht_shift_right(magnitude, drop);
    exponent += drop;
  }
  r.mantissa = (uint32_t)magnitude;
  r.exponent = exponent;
  r.negative = v < 0;
  return r;
}

static inline int32_t ht_rounded(ht_real t, int32_t low, int32_t high) {
  const uint64_t limit = (uint64_t)1 << 16;
  uint64_t magnitude = limit;
  int32_t code;
  if (t.exponent < 0) {
    magnitude = ht_shift_right(t.mantissa, -t.exponent);
  } else if (t.mantissa == 0 || t.exponent < 32) {
    magnitude = (uint64_t)t.mantissa << (t.mantissa == 0 ? 0 : t.exponent);
  }
  if (magnitude > limit) magnitude = limit;
  code = t.negative ? -(int32_t)magnitude : (int32_t)magnitude;
  return code < low ? low : code > high ? high : code;
}

/* Integers in the order of the floats; both zeros are equal. */
static inline int32_t ht_order(ht_float bits) {
  const int32_t magnitude = (int32_t)(bits & 0x7fffffff);
  return bits >> 31 != 0 ? -magnitude : magnitude;
}

static inline ht_float ht_bits(ht_real t) {
  uint32_t magnitude = t.mantissa;
  int32_t exponent = t.exponent;
  if (magnitude != 0) {
    for (; magnitude < 0x800000 && exponent > -149; --exponent) magnitude <<= 1;
    for (; magnitude >= 0x1000000; ++exponent) magnitude >>= 1; /* only 2^24 */
    if (exponent > 104) {
      magnitude = 0x7f800000;
    } else if (magnitude >= 0x800000) {
      magnitude = (magnitude & 0x7fffff) | (uint32_t)(exponent + 150) << 23;
    }
  }
  return magnitude | (t.negative ? 0x80000000u : 0u);
}

static inline ht_float ht_clamped(ht_real t, uint32_t low, uint32_t high) {
  const ht_float bits = ht_bits(t);
  if (ht_order(bits) < ht_order(low)) return low;
  return ht_order(bits) > ht_order(high) ? high : bits;
}

static inline int ht_less(ht_float a, ht_float b) { return ht_order(a) < ht_order(b); }

#else /* with floating point */

typedef float ht_real;
typedef float ht_float;

static inline float ht_float_of(uint32_t bits) {
  float v;
  memcpy(&v, &bits, sizeof v);
  return v;
}

static inline float ht_scaled(int32_t v, uint32_t multiplier) {
  return (float)v * ht_float_of(multiplier);
}

/* low and high are integers, so clamping may come first; then the difference is exact. */
static inline int32_t ht_rounded(float t, int32_t low, int32_t high) {
  const float a = (float)low, b = (float)high;
  int32_t whole;
  float rest;
  t = t < a ? a : t > b ? b : t;
  whole = (int32_t)t; /* towards 0 */
  rest = t - (float)whole;
  if (rest > 0.5f || (rest == 0.5f && (whole & 1) != 0)) return whole + 1;
  if (rest < -0.5f || (rest == -0.5f && (whole & 1) != 0)) return whole - 1;
  return whole;
}

static inline float ht_clamped(float t, uint32_t low, uint32_t high) {
  const float a = ht_float_of(low), b = ht_float_of(high);
  return t < a ? a : t > b ? b : t;
}

static inline int ht_less(float a, float b) { return a < b; }

#endif

static inline uint8_t ht_code(const ht_epilogue* e, int32_t acc, int32_t c) {
  const ht_real t = ht_scaled(acc + e->bias[c], e->multiplier[c]);
  return (uint8_t)(ht_rounded(t, e->low, e->high) + e->zero);
}

static inline ht_float ht_logit_of(const ht_epilogue* e, int32_t acc, int32_t c) {
  return ht_clamped(ht_scaled(acc + e->bias[c], e->multiplier[c]), e->low_bits, e->high_bits);
}

/* low: of the weight's channel. */
static inline int32_t ht_weight(const ht_weights* w, int32_t low, int32_t i) {
  const int32_t per_byte = 3 - w->log2_bits;
  const int32_t field = (i & ((1 << per_byte) - 1)) << w->log2_bits;
  const int32_t u = w->packed[i >> per_byte] >> field & ((1 << (1 << w->log2_bits)) - 1);
  return (low + w->step * u) * (1 << w->shift);
}

/* Output channel o at pixel (y, x). */
static inline int32_t ht_accumulate(const ht_convolution* op, const uint8_t* in, int32_t y,
                                    int32_t x, int32_t o) {
  const int32_t count = op->in.channels / op->groups;
  const int32_t first = o / (op->out.channels / op->groups) * count;
  const int32_t outside = op->pad - op->zero;
  const int32_t low = op->weights.zero_points != 0 ? -op->weights.zero_points[o] : op->weights.low;
  int32_t index = o * op->window.kernel_h * op->window.kernel_w * count;
  int32_t sum = 0, i, j, k;
  if ((op->flags[o] & HT_CONSTANT) != 0) return 0;
  for (i = 0; i < op->window.kernel_h; ++i) {
    const int32_t row = y * op->window.stride_h - op->window.pad_h + i * op->window.dilation_h;
    for (j = 0; j < op->window.kernel_w; ++j) {
      const int32_t column = x * op->window.stride_w - op->window.pad_w + j * op->window.dilation_w;
      if (row < 0 || row >= op->in.height || column < 0 || column >= op->in.width) {
        for (k = 0; k < count; ++k) sum += outside * ht_weight(&op->weights, low, index++);
      } else {
        const uint8_t* pixel = in + (row * op->in.width + column) * op->in.channels + first;
        for (k = 0; k < count; ++k)
          sum += (pixel[k] - op->zero) * ht_weight(&op->weights, low, index++);
      }
    }
  }
  return (op->flags[o] & HT_NEGATED) != 0 ? -sum : sum;
}

/* The best accumulator of a window of the convolution's own output. */
static inline int32_t ht_pooled(const ht_convolution* op, const uint8_t* in, int32_t y, int32_t x,
                                int32_t o) {
  const int32_t top = y * op->pool.stride_h - op->pool.pad_h;
  const int32_t left = x * op->pool.stride_w - op->pool.pad_w;
  int32_t best = 0, found = 0, i, j;
  for (i = top < 0 ? 0 : top; i < top + op->pool.kernel_h && i < op->unpooled.height; ++i) {
    for (j = left < 0 ? 0 : left; j < left + op->pool.kernel_w && j < op->unpooled.width; ++j) {
      const int32_t acc = ht_accumulate(op, in, i, j, o);
      const int better = (op->flags[o] & HT_TAKES_MIN) != 0 ? acc < best : acc > best;
      if (!found || better) best = acc;
      found = 1;
    }
  }
  return best;
}

static inline int32_t ht_accumulator(const ht_convolution* op, const uint8_t* in, int32_t y,
                                     int32_t x, int32_t o) {
  return op->pools ? ht_pooled(op, in, y, x, o) : ht_accumulate(op, in, y, x, o);
}

static inline void ht_convolve(const ht_convolution* op, const uint8_t* in, uint8_t* out) {
  int32_t y, x, o;
  for (y = 0; y < op->out.height; ++y) {
    for (x = 0; x < op->out.width; ++x) {
      for (o = 0; o < op->out.channels; ++o)
        *out++ = ht_code(&op->epilogue, ht_accumulator(op, in, y, x, o), o);
    }
  }
}

/* The last layer of a network whose logits are not quantized. */
static inline void ht_convolve_to_float(const ht_convolution* op, const uint8_t* in,
                                        ht_float* out) {
  int32_t y, x, o;
  for (y = 0; y < op->out.height; ++y) {
    for (x = 0; x < op->out.width; ++x) {
      for (o = 0; o < op->out.channels; ++o)
        *out++ = ht_logit_of(&op->epilogue, ht_accumulator(op, in, y, x, o), o);
    }
  }
}

/* table[code], or table[256 c + code] with table_channels > 1. */
static inline void ht_map(const uint8_t* in, ht_image shape, const uint8_t* table,
                          int32_t table_channels, uint8_t* out) {
  int32_t p, c;
  for (p = 0; p < shape.height * shape.width; ++p) {
    for (c = 0; c < shape.channels; ++c) *out++ = table[(table_channels > 1 ? 256 * c : 0) + *in++];
  }
}

static inline void ht_max_pool(const uint8_t* in, ht_image shape, ht_window w, ht_image to,
                               uint8_t* out) {
  int32_t y, x, c, i, j;
  for (y = 0; y < to.height; ++y) {
    for (x = 0; x < to.width; ++x) {
      const int32_t top = y * w.stride_h - w.pad_h, left = x * w.stride_w - w.pad_w;
      for (c = 0; c < to.channels; ++c) {
        uint8_t best = 0;
        for (i = top < 0 ? 0 : top; i < top + w.kernel_h && i < shape.height; ++i) {
          for (j = left < 0 ? 0 : left; j < left + w.kernel_w && j < shape.width; ++j) {
            const uint8_t v = in[(i * shape.width + j) * shape.channels + c];
            if (v > best) best = v;
          }
        }
        *out++ = best;
      }
    }
  }
}

/* Over the whole image. */
static inline void ht_average(const uint8_t* in, ht_image shape, int32_t zero, const ht_epilogue* e,
                              uint8_t* out) {
  int32_t c, p;
  for (c = 0; c < shape.channels; ++c) {
    int32_t sum = 0;
    for (p = 0; p < shape.height * shape.width; ++p) sum += in[p * shape.channels + c] - zero;
    out[c] = ht_code(e, sum, 0);
  }
}

/* clamp((a - a_zero) + (b - b_zero), low, high) + zero, zeros = a_zero + b_zero. */
static inline void ht_add(const uint8_t* a, const uint8_t* b, int32_t count, int32_t zeros,
                          int32_t low, int32_t high, int32_t zero, uint8_t* out) {
  int32_t i;
  for (i = 0; i < count; ++i) {
    const int32_t t = a[i] + b[i] - zeros;
    out[i] = (uint8_t)((t < low ? low : t > high ? high : t) + zero);
  }
}

/* All channels of `in` to the channels from `first` on of a wider image. */
static inline void ht_place(const uint8_t* in, ht_image shape, int32_t first, int32_t out_channels,
                            uint8_t* out) {
  int32_t p;
  for (p = 0; p < shape.height * shape.width; ++p) {
    memcpy(out + p * out_channels + first, in + p * shape.channels, (size_t)shape.channels);
  }
}

/* Every stride-th pixel, its channels from `before` on; the others hold `fill`. */
static inline void ht_subsample_pad(const uint8_t* in, ht_image shape, int32_t stride,
                                    int32_t before, int32_t fill, ht_image to, uint8_t* out) {
  int32_t y, x;
  memset(out, fill, (size_t)(to.height * to.width * to.channels));
  for (y = 0; y < to.height; ++y) {
    for (x = 0; x < to.width; ++x, out += to.channels) {
      const uint8_t* pixel = in + (y * shape.width + x) * stride * shape.channels;
      memcpy(out + before, pixel, (size_t)shape.channels);
    }
  }
}
