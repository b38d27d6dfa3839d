#include "kernels/integer_conv.h"

#include <algorithm>
#include <cstdlib>

#include "kernels/check.h"
#include "kernels/device.h"
#include "kernels/integer_bodies.h"
#include "kernels/matmul.h"
#include "kernels/parallel.h"
#include "kernels/quantize.h"

namespace halftone::kernels {
namespace {

constexpr int64_t kExact = int64_t{1} << 24;
constexpr int64_t kGrain = 16384;

int64_t largest_operand(const QuantParams& x) {
  return std::max(std::abs(x.qmin - x.zero_point), std::abs(x.qmax - x.zero_point));
}

// Cuts the positions of the rows into runs that keep every row's worst sum below 2^24; the rest is
// zero.
void append_runs(const Tensor& w, int64_t max_x, int32_t factor, std::vector<ExactTerm>& terms) {
  const int64_t rows = w.dim(0), length = w.numel() / rows;
  const float* in = w.data<float>();
  std::vector<int64_t> sums(rows);
  Tensor run = Tensor::zeros(w.context(), w.shape());
  for (int64_t p = 0; p < length; ++p) {
    bool full = false;
    for (int64_t r = 0; r < rows; ++r) {
      full |= sums[r] + max_x * static_cast<int64_t>(std::abs(in[r * length + p])) >= kExact;
    }
    if (full) {
      terms.push_back({run, factor});
      run = Tensor::zeros(w.context(), w.shape());
      std::fill(sums.begin(), sums.end(), 0);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const float value = in[r * length + p];
      sums[r] += max_x * static_cast<int64_t>(std::abs(value));
      run.data<float>()[r * length + p] = value;
    }
  }
  terms.push_back({run, factor});
}

// Lets the compiler know that both look at the same bytes.
using FloatBits = float __attribute__((may_alias));

// The same four bytes, first a float that holds an integer, then that integer.
void to_int32_in_place(Tensor& acc) {
  int32_t* integers = acc.data<int32_t>();
  parallel_for(acc.context(), acc.numel(), kGrain, [=](int64_t begin, int64_t end) {
    const FloatBits* values = reinterpret_cast<const FloatBits*>(integers);
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) integers[i] = static_cast<int32_t>(values[i]);
  });
}

void scale_in_place(Tensor& acc, int32_t factor) {
  int32_t* a = acc.data<int32_t>();
  parallel_for(acc.context(), acc.numel(), kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) a[i] *= factor;
  });
}

void add_term(const Tensor& y, int32_t factor, Tensor& acc) {
  const float* in = y.data<float>();
  int32_t* a = acc.data<int32_t>();
  parallel_for(acc.context(), acc.numel(), kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) a[i] += factor * static_cast<int32_t>(in[i]);
  });
}

// multiply(w, y): y = x * w in float. No sum on the way leaves int32: a position adds its 16 high
// and then its low part, |16 high| <= 2 |w|, so that twice the bound, below 2^31, holds at every
// point.
template <class Multiply>
void accumulate_terms(const std::vector<ExactTerm>& terms, int64_t bound, Tensor& acc,
                      AccumulatorStatistics* statistics, Multiply multiply) {
  Tensor first = Tensor::view_of(acc.context(), acc.shape(), DType::kFloat32, acc.raw(), nullptr);
  multiply(terms[0].w, first);
  if (statistics != nullptr && terms.size() == 1) {
    *statistics = to_accumulators(acc, bound);
    return;
  }
  to_int32_in_place(acc);
  if (terms[0].factor != 1) scale_in_place(acc, terms[0].factor);
  for (size_t k = 1; k < terms.size(); ++k) {
    Tensor y = Tensor::empty(acc.context(), acc.shape());
    multiply(terms[k].w, y);
    add_term(y, terms[k].factor, acc);
  }
  if (statistics != nullptr) *statistics = accumulator_statistics(acc, bound);
}

Tensor integers_of(const Codes& x) {
  Tensor integers = Tensor::empty(x.values.context(), x.values.shape());
  codes_to_integers(x.values, x.params.zero_point, integers);
  return integers;
}

void float_conv2d(const ConvGeometry& g, const Codes& x, const Tensor& w, int64_t bound,
                  Tensor& acc, AccumulatorStatistics* statistics) {
  const Tensor integers = integers_of(x);
  accumulate_terms(
      exact_terms(w, bound, x.params), bound, acc, statistics,
      [&](const Tensor& term, Tensor& y) { conv2d(integers, term, nullptr, g.options, y); });
}

void float_linear(const Codes& x, const Tensor& w, int64_t bound, Tensor& acc,
                  AccumulatorStatistics* statistics) {
  const Tensor integers = integers_of(x);
  accumulate_terms(exact_terms(w, bound, x.params), bound, acc, statistics,
                   [&](const Tensor& term, Tensor& y) { linear(integers, term, nullptr, y); });
}

bool has_offsets(const RowOffsets& offsets) {
  return std::any_of(offsets.begin(), offsets.end(), [](int32_t v) { return v != 0; });
}

// A filter of ones for each group.
Tensor ones(const Tensor& w, int64_t groups) {
  Shape shape = w.shape();
  shape.set(0, groups);
  Tensor out = Tensor::empty(w.context(), shape, DType::kInt8);
  std::fill_n(out.data<int8_t>(), out.numel(), int8_t{1});
  return out;
}

// acc (rows, O) += offsets[o] * sums (rows, groups). Modulo 2^32 on the way: checked_bound() has
// seen that the result fits.
void add_window_sums(const Tensor& sums, const RowOffsets& offsets, Tensor& acc) {
  const auto channels = static_cast<int64_t>(offsets.size()), groups = sums.dim(sums.rank() - 1);
  const int64_t per_group = channels / groups;
  const int32_t* in = sums.data<int32_t>();
  int32_t* out = acc.data<int32_t>();
  const std::vector<uint32_t> factors(offsets.begin(), offsets.end());
  parallel_for(acc.context(), acc.numel() / channels, 1 + kGrain / channels,
               [&](int64_t first, int64_t last) {
                 for (int64_t g = first * groups; g < last * groups; ++g) {
                   const auto sum = static_cast<uint32_t>(in[g]);
                   const uint32_t* f = factors.data() + g % groups * per_group;
                   int32_t* a = out + g * per_group;
                   for (int64_t k = 0; k < per_group; ++k)
                     a[k] = static_cast<int32_t>(static_cast<uint32_t>(a[k]) + f[k] * sum);
                 }
               });
}

// Bodies on codes pad with the zero point, so it must be one.
const IntegerBody& widest(const QuantParams& x) {
  const IntegerBody* vnni = vnni_integer_body();
  return vnni != nullptr && x.zero_point >= 0 && x.zero_point <= 255 ? *vnni : float_integer_body();
}

const IntegerBody& chosen(const ConvGeometry& g, const QuantParams& x) {
  return widest(x).takes(g) ? widest(x) : float_integer_body();
}

}  // namespace

// One term where it fits. Else w = 16 high + low with |high|, |low| <= 8: sixteen times shorter
// sums, two terms; past 8,224 positions possibly more.
std::vector<ExactTerm> exact_terms(const Tensor& w, int64_t bound, const QuantParams& x) {
  const int64_t max_x = largest_operand(x);
  std::vector<ExactTerm> terms;
  Tensor all = Tensor::empty(w.context(), w.shape());
  weights_to_integers(w, all);
  if (bound < kExact) {
    terms.push_back({all, 1});
    return terms;
  }
  Tensor high = Tensor::empty(w.context(), w.shape()), low = Tensor::empty(w.context(), w.shape());
  for (int64_t i = 0; i < w.numel(); ++i) {
    const int32_t code = w.data<int8_t>()[i];
    const int32_t top = (code + 8) >> 4;  // floor((code + 8) / 16)
    high.data<float>()[i] = static_cast<float>(top);
    low.data<float>()[i] = static_cast<float>(code - 16 * top);
  }
  append_runs(high, max_x, 16, terms);
  append_runs(low, max_x, 1, terms);
  return terms;
}

int64_t checked_bound(const Codes& x, const Tensor& w, const RowOffsets& offsets, const char* op) {
  if (!offsets.empty() && static_cast<int64_t>(offsets.size()) != w.dim(0)) {
    throw HALFTONE_ERROR(op)
        .expected(std::to_string(w.dim(0)) + " offsets, one for each row of the weight")
        .found(std::to_string(offsets.size()));
  }
  std::vector<int64_t> bounds = accumulator_bounds(x.params, w, offsets);
  for (size_t c = 0; c < bounds.size(); ++c) {
    if (bounds[c] < kAccumulatorLimit) continue;
    throw HALFTONE_ERROR(op)
        .expected("accumulators below 2^30")
        .found("up to " + std::to_string(bounds[c]) + " in output channel " + std::to_string(c))
        .fix("use fewer weight bits or fewer inputs per output");
  }
  return bounds.empty() ? 0 : *std::max_element(bounds.begin(), bounds.end());
}

const IntegerBody& float_integer_body() {
  static constexpr IntegerBody body{[](const ConvGeometry&) { return true; }, float_conv2d,
                                    float_linear};
  return body;
}

std::vector<int64_t> accumulator_bounds(const QuantParams& x, const Tensor& w,
                                        const RowOffsets& offsets) {
  const int64_t rows = w.dim(0), length = rows > 0 ? w.numel() / rows : 0;
  const int64_t max_x = largest_operand(x);
  const int8_t* codes = w.data<int8_t>();
  std::vector<int64_t> bounds(rows);
  parallel_for(w.context(), rows, 1 + kGrain / (length + 1), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const int64_t offset = offsets.empty() ? 0 : offsets[r];
      int64_t sum = 0;
      for (int64_t i = r * length; i < (r + 1) * length; ++i) sum += std::abs(codes[i] + offset);
      bounds[r] = max_x * sum;
    }
  });
  return bounds;
}

int64_t integer_conv2d(const Codes& x, const Tensor& w, const Conv2dOptions& options, Tensor& acc,
                       AccumulatorStatistics* statistics, const RowOffsets& offsets) {
  const char* op = "integer_conv2d";
  const ConvGeometry g = conv_geometry(op, x.values.shape(), w.shape(), options);
  check_conv_shape(op, "an output of", acc, {g.n, g.oh, g.ow, g.o});
  HALFTONE_ON_DEVICE(integer_conv2d, acc, x, w, options, acc, statistics, offsets);
  const int64_t bound = checked_bound(x, w, offsets, op);
  if (has_offsets(offsets)) {
    integer_conv2d(x, w, options, acc);
    Tensor sums = Tensor::empty(acc.context(), {g.n, g.oh, g.ow, options.groups}, DType::kInt32);
    integer_conv2d(x, ones(w, options.groups), options, sums);
    add_window_sums(sums, offsets, acc);
    if (statistics != nullptr) *statistics = accumulator_statistics(acc, bound);
    return bound;
  }
  if (acc.numel() > 0) {
    chosen(g, x.params).conv2d(g, x, w, bound, acc, statistics);
  } else if (statistics != nullptr) {
    *statistics = accumulator_statistics(acc, bound);
  }
  return bound;
}

int64_t integer_linear(const Codes& x, const Tensor& w, Tensor& acc,
                       AccumulatorStatistics* statistics, const RowOffsets& offsets) {
  const char* op = "integer_linear";
  check_rank(op, "x", x.values, 2);
  check_rank(op, "w", w, 2);
  check_shape(op, "x", x.values, {x.values.dim(0), w.dim(1)});
  check_shape(op, "acc", acc, {x.values.dim(0), w.dim(0)});
  HALFTONE_ON_DEVICE(integer_linear, acc, x, w, acc, statistics, offsets);
  const int64_t bound = checked_bound(x, w, offsets, op);
  if (has_offsets(offsets)) {
    integer_linear(x, w, acc);
    Tensor sums = Tensor::empty(acc.context(), {x.values.dim(0), 1}, DType::kInt32);
    integer_linear(x, ones(w, 1), sums);
    add_window_sums(sums, offsets, acc);
    if (statistics != nullptr) *statistics = accumulator_statistics(acc, bound);
    return bound;
  }
  if (acc.numel() > 0) {
    widest(x.params).linear(x, w, bound, acc, statistics);
  } else if (statistics != nullptr) {
    *statistics = accumulator_statistics(acc, bound);
  }
  return bound;
}

}  // namespace halftone::kernels
