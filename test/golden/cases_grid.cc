// G01, G09, G10: ranges to grids, values to codes, the straight-through mask.
#include <cmath>

#include "kernels/quantize.h"
#include "test/golden/cases.h"

namespace halftone::golden {
namespace {

using quant_math::Grid;

const char* const kSchemes[] = {"per_tensor_affine", "per_tensor_symmetric"};
const float kRanges[][2] = {
    {-1.0f, 2.0f}, {0.5f, 2.0f}, {-3.0f, -1.0f}, {0.0f, 0.0f}, {-1e-8f, 1e-8f}};

Json grid_row(int bits, bool is_signed, bool symmetric, const float* range) {
  Json row = {bits, is_signed ? "int" : "uint", kSchemes[symmetric],
              range[0] == -1e-8f ? -1e-8 : double{range[0]},
              range[1] == 1e-8f ? 1e-8 : double{range[1]}};
  if (bits == 1 && is_signed) {  // no code but 0
    row.push_back("refused");
    row.push_back("refused");
    return row;
  }
  const Grid g = quant_math::choose_grid(range[0], range[1], {bits, is_signed, symmetric, true});
  row.push_back(number(g.scale));
  row.push_back(g.zero_point);
  return row;
}

// bits, dtype, scheme, range, scale, zero point.
Json g01(const Inputs&) {
  Json rows = Json::array();
  for (const int bits : {1, 2, 4, 8, 16}) {
    for (const bool is_signed : {false, true}) {
      for (const bool symmetric : {false, true}) {
        for (const auto& range : kRanges)
          rows.push_back(grid_row(bits, is_signed, symmetric, range));
      }
    }
  }
  return rows;
}

// The floor of the scale is 2^-23, and the zero point of an empty range follows from it.
Json right_row(int bits, bool is_signed, bool symmetric, bool empty) {
  const int qmax = is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
  Json row = Json::array({nullptr, nullptr, nullptr, nullptr, nullptr});
  if (qmax == 0) {
    row.push_back("refused");
    row.push_back("refused");
  } else if (empty) {
    row.push_back(std::ldexp(1.0, -23));
    row.push_back(is_signed ? (symmetric ? 0 : -qmax) : (symmetric ? qmax / 2 : 0));
  }
  return row;
}

Json g01_right(const Inputs&) {
  Json rows = Json::array();
  for (const int bits : {1, 2, 4, 8, 16}) {
    for (const bool is_signed : {false, true}) {
      for (const bool symmetric : {false, true}) {
        for (size_t i = 0; i < 5; ++i)
          rows.push_back(right_row(bits, is_signed, symmetric, i >= 3));
      }
    }
  }
  return rows;
}

// x = -10, -9.75, ..., 9.75 with scale .5, range 0..15: per zero point the codes and their values.
Json g09(const Inputs&) {
  Json rows = Json::array();
  for (const int zero_point : {0, 3, 4}) {
    const Grid g{0.5f, zero_point, 0, 15};
    std::vector<float> codes, values;
    for (int i = 0; i < 80; ++i) {
      const int32_t code = quant_math::quantize_nni(-10.0f + 0.25f * static_cast<float>(i), g);
      codes.push_back(static_cast<float>(code));
      values.push_back(quant_math::dequantize(code, g));
    }
    rows.push_back({zero_point, numbers(codes), numbers(values)});
  }
  return rows;
}

// The gradient that passes around the ends of the range: scale .5, zero point 0, range 0..15.
Json g10(const Inputs&) {
  const std::vector<float> x = {-0.76f, -0.75f, -0.74f, -0.5f, -0.26f, -0.25f, -0.24f, 0.0f, 0.1f,
                                7.24f,  7.25f,  7.26f,  7.5f,  7.74f,  7.75f,  7.76f,  8.0f};
  const Context context;
  const Shape shape{static_cast<int64_t>(x.size())};
  Tensor dx = Tensor::empty(context, shape);
  kernels::Grids grids;
  grids.list = {{0.5f, 0, 0, 15}};
  grids.rounding = quant_math::Rounding::kNni;
  kernels::fake_quantize_backward(Tensor::full(context, shape, 1.0f),
                                  Tensor::from(context, shape, x), grids, dx);
  return {numbers(x), numbers(dx.to_vector<float>())};
}

}  // namespace

std::vector<Case> grid_cases() {
  const std::string floor =
      "NNI's scale has no floor: an empty range gives 0 and then NaN (B4). Ours is at least 2^-23";
  return {{"G01",
           "scale and zero point from a range",
           {{"1[0-9]/[56]", Nearness::kOurs, 0, "int of one bit has no code but 0 (B5): refused"},
            {"*[3849]/[56]", Nearness::kOurs, 0, floor},
            {"*"}},
           g01,
           g01_right},
          {"G09", "ties, with odd and even zero points", {{"*"}}, g09},
          {"G10", "which gradients pass at the ends of the range", {{"*"}}, g10}};
}

}  // namespace halftone::golden
