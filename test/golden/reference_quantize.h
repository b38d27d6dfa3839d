// Fake quantizers written a second time, in plain loops over floats and with none of the library's
// code: what our numbers are compared with where NNI's come from a bug, and with inputs of which no
// file exists. NNI's formulas and order of operations (float32 where rounding decides, sums in
// double), except for its bugs: no scale is below 2^-23, DoReFa and LSQ have their gradients.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace halftone::golden::reference {

using Values = std::vector<float>;

// How the terms of a sum are added. Order 0: in double, rounded once. Others, up to kOrders: in
// float32, from another term on, forwards or backwards, products rounded before they are added or
// not (fused multiply-add), as libraries differ.
struct Sums {
  static constexpr int kOrders = 16;
  int order = 0;
  float of(const std::vector<double>& terms) const;
};

struct Sgd {
  float lr = 0, momentum = 0;
};

// PyTorch's: buffer = momentum * buffer + gradient, value -= lr * buffer.
void step(const Sgd& sgd, const Values& gradient, Values& buffer, Values& value);

class Quantizer {
 public:
  virtual ~Quantizer() = default;
  virtual Values forward(const Values& v, bool training) = 0;
  // d loss / d v, of d loss / d result; v of the last forward. Straight through unless said.
  virtual Values backward(const Values& up, const Values& /*v*/) { return up; }
  virtual void step(const Sgd& /*sgd*/) {}

  // NNI's scale has been 0 (it divides by it and gets NaN), negative, or below our floor: from here
  // on its numbers differ from ours.
  bool lost = false;
};

constexpr float kFloor = 0x1p-23f;

// ---- ranges: QAT_Quantizer ----

struct Grid {
  float scale, zero_point, qmin, qmax;
};

struct RangeSpec {
  int bits = 8;
  bool is_signed = false, symmetric = false;
  // Element i belongs to channel i / inner % channels.
  int64_t channels = 1, inner = 1;
  bool average = false;  // ranges of activations: the moving average with 0.99
  int start_step = 0;
};

// From a range that holds 0; below the floor, `lost` becomes true.
Grid grid_of(float low, float high, const RangeSpec& spec, bool& lost);

class RangeQuantizer : public Quantizer {
 public:
  explicit RangeQuantizer(const RangeSpec& spec) : spec_(spec) {}
  Values forward(const Values& v, bool training) override;
  Values backward(const Values& up, const Values& v) override;
  void step(const Sgd& /*sgd*/) override { ++steps_; }

  Values low, high;
  std::vector<Grid> grids;

 private:
  void observe(const Values& v);
  const Grid& grid(size_t i) const { return grids[i / spec_.inner % spec_.channels]; }
  bool warm_up() const { return spec_.start_step > steps_; }

  RangeSpec spec_;
  int steps_ = 1;
};

// ---- LsqQuantizer ----

// Signed, z = 0, edges of the range inside. The first scale is 2 mean |v| / sqrt(qmax) of the first
// values that are not all zero; before, values pass as they are and the scale reads 1.
class LsqQuantizer : public Quantizer {
 public:
  explicit LsqQuantizer(int bits, const Sums& sums = {})
      : qmin_(-float(1 << (bits - 1))), qmax_(-qmin_ - 1), sums_(sums) {}
  Values forward(const Values& v, bool training) override;
  Values backward(const Values& up, const Values& v) override;
  void step(const Sgd& sgd) override;

  Values scale = {1}, gradient = {0};

 private:
  float passed_scale(size_t count) const;

  float qmin_, qmax_;
  Sums sums_;  // of the first mean; and the rounding of the scale
  bool started_ = false;
  Values buffer_ = {0};
};

// ---- DoReFaQuantizer (two bits and more), BNNQuantizer, NaiveQuantizer ----

// 2 quantize_k(t / (2 max |t|) + 1/2) - 1, t = tanh(v); the gradient through tanh and the max,
// whose share is split between ties.
class DorefaQuantizer : public Quantizer {
 public:
  explicit DorefaQuantizer(int bits) : n_(static_cast<float>((1 << bits) - 1)) {}
  Values forward(const Values& v, bool training) override;
  Values backward(const Values& up, const Values& v) override;

 private:
  float n_;
};

// The sign, of 0 too: +1. Of activations the gradient passes where |v| <= 1.
class SignQuantizer : public Quantizer {
 public:
  explicit SignQuantizer(bool masks) : masks_(masks) {}
  Values forward(const Values& v, bool training) override;
  Values backward(const Values& up, const Values& v) override;

 private:
  bool masks_;
};

// Eight bits, towards zero; the scale never shrinks.
class NaiveQuantizer : public Quantizer {
 public:
  Values forward(const Values& v, bool training) override;

 private:
  float scale_ = 0;
};

}  // namespace halftone::golden::reference
