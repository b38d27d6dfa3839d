// The split over threads, padding and packing; the inner loops are in integer_vnni_tiles.cc.
#include "kernels/integer_vnni.h"

#include <algorithm>
#include <cstring>

#include "kernels/integer_bodies.h"
#include "kernels/parallel.h"

namespace halftone::kernels {
namespace {

int64_t divide_up(int64_t n, int64_t step) { return (n + step - 1) / step; }

// How the sums of one convolution are cut.
struct Cut {
  explicit Cut(const ConvGeometry& g, int threads);
  bool joined;                // the taps of a kernel row are one run
  int64_t run_count, run;     // codes of a run
  int64_t quads;              // of a run
  int64_t vectors;            // of a group's channels
  int64_t slabs;              // of a group
  bool copies;                // planes are padded copies
  int64_t bands, band_rows;   // an image's output rows, in bands
  int64_t in_rows, in_width;  // of a plane: the rows of x under a band
};

Cut::Cut(const ConvGeometry& g, int threads) {
  const Conv2dOptions& o = g.options;
  joined = o.groups == 1 && (o.dilation_w == 1 || g.kw == 1);
  run_count = joined ? g.kh : g.kh * g.kw;
  run = joined ? g.kw * g.c : g.cg;
  quads = divide_up(run, 4);
  vectors = divide_up(g.og(), kVnniLanes);
  slabs = divide_up(vectors, kVnniVectors);
  copies = o.pad_h > 0 || o.pad_w > 0 || run % 4 != 0;
  band_rows = divide_up(g.oh, std::min<int64_t>(g.oh, divide_up(threads, g.n)));
  bands = divide_up(g.oh, band_rows);
  in_rows = (band_rows - 1) * o.stride_h + (g.kh - 1) * o.dilation_h + 1;
  in_width = g.w + 2 * o.pad_w;
}

// Weights in slabs, groups after groups, and the sums' first terms, -z sum w.
struct Packed {
  Tensor weights, start;
};

// A quad of a run from its byte `at` on, zeros behind the run.
int32_t quad_of(const int8_t* run, int64_t at, int64_t length) {
  int32_t quad = 0;
  if (at + 4 <= length) {
    std::memcpy(&quad, run + at, 4);
  } else {
    std::memcpy(&quad, run + at, length - at);
  }
  return quad;
}

// One vector of channels, `rows` from `count` of them (one row each), to quads of 16 channels,
// `stride` int32 apart. In pieces that stay in the first-level cache.
void pack_vector(const Cut& c, const int8_t* rows, int64_t count, int64_t stride, int32_t* to) {
  constexpr int64_t kPiece = 64;
  const int64_t taps = c.run_count * c.run;
  for (int64_t r = 0; r < c.run_count; ++r) {
    for (int64_t first = 0; first < c.quads; first += kPiece, to += kPiece * stride) {
      const int64_t quads = std::min(kPiece, c.quads - first);
      for (int64_t lane = 0; lane < kVnniLanes; ++lane) {
        const int8_t* run = rows + lane * taps + r * c.run;
        for (int64_t q = 0; q < quads; ++q)
          to[q * stride + lane] = lane < count ? quad_of(run, 4 * (first + q), c.run) : 0;
      }
    }
    to -= (divide_up(c.quads, kPiece) * kPiece - c.quads) * stride;
  }
}

void start_sums(const int8_t* rows, int64_t count, int64_t taps, int32_t zero_point, int32_t* to) {
  for (int64_t lane = 0; lane < kVnniLanes; ++lane) {
    int32_t sum = 0;
    for (int64_t k = 0; lane < count && k < taps; ++k) sum += rows[lane * taps + k];
    to[lane] = -zero_point * sum;
  }
}

Packed pack(const ConvGeometry& g, const Cut& c, int32_t zero_point, const Tensor& w) {
  const int64_t vectors = g.options.groups * c.vectors, quads = c.run_count * c.quads;
  Packed p{Tensor::empty(w.context(), {vectors * quads * kVnniLanes}, DType::kInt32),
           Tensor::empty(w.context(), {vectors * kVnniLanes}, DType::kInt32)};
  const int8_t* codes = w.data<int8_t>();
  int32_t *packed = p.weights.data<int32_t>(), *start = p.start.data<int32_t>();
  parallel_for(w.context(), vectors, 1 + 1024 / (quads + 1), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t v = i % c.vectors, first = v / kVnniVectors * kVnniVectors;  // of its slab
      const int64_t width = std::min(kVnniVectors, c.vectors - first);
      const int8_t* rows = codes + (i / c.vectors * g.og() + v * kVnniLanes) * g.taps();
      const int64_t count = std::min(kVnniLanes, g.og() - v * kVnniLanes);
      start_sums(rows, count, g.taps(), zero_point, start + i * kVnniLanes);
      pack_vector(c, rows, count, width * kVnniLanes,
                  packed + ((i - v + first) * quads + v - first) * kVnniLanes);
    }
  });
  return p;
}

// Rows [first, first + rows) of the padded image x.
void copy_rows(const ConvGeometry& g, const Cut& c, const uint8_t* x, uint8_t zero, int64_t first,
               uint8_t* to) {
  const int64_t pad = g.options.pad_w * g.c, length = g.w * g.c, width = c.in_width * g.c;
  for (int64_t r = first - g.options.pad_h; r < first - g.options.pad_h + c.in_rows;
       ++r, to += width) {
    if (r < 0 || r >= g.h) {
      std::memset(to, zero, width);
      continue;
    }
    std::memset(to, zero, pad);
    std::memcpy(to + pad, x + r * length, length);
    std::memset(to + pad + length, zero, pad);
  }
}

// One convolution on its way: operands, and how a plane (an image's band) finds its codes.
struct Problem {
  const ConvGeometry& g;
  const Cut& cut;
  const Packed& packed;
  const uint8_t* x;
  uint8_t zero;
  int32_t* acc;
  const int64_t *offsets, *runs;
};

// The offsets of a plane's pixels, then those of the runs.
Tensor offset_table(const ConvGeometry& g, const Cut& c, const Context& context) {
  const Conv2dOptions& o = g.options;
  Tensor table = Tensor::empty(context, {c.band_rows * g.ow + c.run_count}, DType::kInt64);
  int64_t* to = table.data<int64_t>();
  for (int64_t i = 0; i < c.band_rows; ++i) {
    for (int64_t j = 0; j < g.ow; ++j) *to++ = (i * o.stride_h * c.in_width + j * o.stride_w) * g.c;
  }
  const int64_t columns = c.joined ? 1 : g.kw;
  for (int64_t r = 0; r < c.run_count; ++r)
    *to++ = (r / columns * o.dilation_h * c.in_width + r % columns * o.dilation_w) * g.c;
  return table;
}

// The codes under a plane: those of x, or a padded copy.
const uint8_t* input_of(const Problem& p, int64_t plane, uint8_t* copy) {
  const int64_t row = plane % p.cut.bands * p.cut.band_rows * p.g.options.stride_h;
  const uint8_t* image = p.x + plane / p.cut.bands * p.g.h * p.g.w * p.g.c;
  if (!p.cut.copies) return image + row * p.g.w * p.g.c;
  copy_rows(p.g, p.cut, image, p.zero, row, copy);
  return copy;
}

void multiply(const Problem& p, int64_t plane, const uint8_t* input, int64_t slab) {
  const ConvGeometry& g = p.g;
  const Cut& c = p.cut;
  const int64_t n = plane / c.bands, row = plane % c.bands * c.band_rows;
  const int64_t group = slab / c.slabs, vector = slab % c.slabs * kVnniVectors;
  const int64_t at = group * c.vectors + vector, channel = vector * kVnniLanes;
  VnniSlab s{};
  s.x = input + group * g.cg;
  s.offsets = p.offsets;
  s.pixels = std::min(c.band_rows, g.oh - row) * g.ow;
  s.runs = p.runs;
  s.run_count = c.run_count;
  s.run_bytes = 4 * c.quads;
  s.weights = p.packed.weights.data<int32_t>() + at * c.run_count * c.quads * kVnniLanes;
  s.start = p.packed.start.data<int32_t>() + at * kVnniLanes;
  s.vectors = static_cast<int>(std::min(kVnniVectors, c.vectors - vector));
  s.channels = std::min(s.vectors * kVnniLanes, g.og() - channel);
  s.acc = p.acc + (n * g.pixels() + row * g.ow) * g.o + group * g.og() + channel;
  s.acc_step = g.o;
  vnni_multiply(s);
}

// Threads share the planes, or where those are few, the slabs. `copy` has `bytes` for every thread.
void run_planes(const Context& context, const Problem& p, uint8_t* copy, int64_t bytes) {
  const int64_t planes = p.g.n * p.cut.bands, slabs = p.g.options.groups * p.cut.slabs;
  if (planes >= context.threads()) {
    parallel_for(context, planes, 1, [&](int64_t begin, int64_t end) {
      uint8_t* own = copy + omp_get_thread_num() * bytes;
      for (int64_t i = begin; i < end; ++i) {
        const uint8_t* input = input_of(p, i, own);
        for (int64_t slab = 0; slab < slabs; ++slab) multiply(p, i, input, slab);
      }
    });
    return;
  }
  for (int64_t i = 0; i < planes; ++i) {
    const uint8_t* input = input_of(p, i, copy);
    parallel_for(context, slabs, 1, [&](int64_t begin, int64_t end) {
      for (int64_t slab = begin; slab < end; ++slab) multiply(p, i, input, slab);
    });
  }
}

bool takes(const ConvGeometry& g) { return g.options.groups == 1 || g.og() >= 8; }

void multiply_planes(const ConvGeometry& g, const Codes& x, const Tensor& w, Tensor& acc) {
  const Context& context = acc.context();
  const Cut c(g, context.threads());
  const Packed packed = pack(g, c, x.params.zero_point, w);
  const Tensor table = offset_table(g, c, context);
  const int64_t* offsets = table.data<int64_t>();
  const Problem p{g,
                  c,
                  packed,
                  x.values.data<uint8_t>(),
                  static_cast<uint8_t>(x.params.zero_point),
                  acc.data<int32_t>(),
                  offsets,
                  offsets + c.band_rows * g.ow};
  // A last quad may end 3 bytes past its run.
  const int64_t bytes = c.copies ? c.in_rows * c.in_width * g.c + 3 : 0;
  Tensor copies = Tensor::empty(context, {context.threads() * bytes}, DType::kUInt8);
  uint8_t* copy = copies.data<uint8_t>();
  run_planes(context, p, copy, bytes);
}

void vnni_conv2d(const ConvGeometry& g, const Codes& x, const Tensor& w, int64_t bound, Tensor& acc,
                 AccumulatorStatistics* statistics) {
  multiply_planes(g, x, w, acc);
  if (statistics != nullptr) *statistics = accumulator_statistics(acc, bound);
}

// A row of pixels with a kernel of 1 x 1.
void vnni_linear(const Codes& x, const Tensor& w, int64_t bound, Tensor& acc,
                 AccumulatorStatistics* statistics) {
  const int64_t n = x.values.dim(0), in = w.dim(1), out = w.dim(0);
  vnni_conv2d({1, 1, n, in, out, 1, 1, in, 1, n, {}}, x, w, bound, acc, statistics);
}

}  // namespace

const IntegerBody* vnni_integer_body() {
  static constexpr IntegerBody body{takes, vnni_conv2d, vnni_linear};
  static const bool there =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vnni");
  return there ? &body : nullptr;
}

}  // namespace halftone::kernels
