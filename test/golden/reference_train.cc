// The network of G25: Conv(1, 4, 3) ReLU6 MaxPool2 Conv(4, 6, 3) ReLU6 Linear(54, 5).
#include <algorithm>
#include <cmath>

#include "test/golden/reference_net.h"

namespace halftone::golden::reference {
namespace {

constexpr size_t kClasses = 5;
constexpr float kTop = 6;

// A few roundings of values below 6; different sums of codes are much further apart.
constexpr float kEqual = 1e-5f;

// 2 x 2, stride 2; `from` takes the place of the first largest value of each window. Where that is
// not clear, `decision` says which: other values of the same shape.
Values max_pool(const Values& x, const Values& decision, size_t size, std::vector<size_t>& from) {
  const size_t half = size / 2, planes = x.size() / (size * size);
  Values y;
  from.clear();
  for (size_t i = 0; i < planes * half * half; ++i) {
    const size_t row = i / half, plane_row = row / half * size + row % half * 2;
    size_t best = plane_row * size + i % half * 2;
    const size_t corner = best;
    for (const size_t at : {corner + 1, corner + size, corner + size + 1}) {
      const bool tie = std::fabs(x[at] - x[best]) <= kEqual;
      if (tie ? decision[at] > decision[best] : x[at] > x[best]) best = at;
    }
    from.push_back(best);
    y.push_back(x[best]);
  }
  return y;
}

struct Network {
  Layer layers[3] = {{1, 4, 3, 12}, {4, 6, 3, 5}, {54, 5, 1, 1}};
  std::unique_ptr<Quantizer> of_result[2];  // behind each ReLU6
  Values before[2], clamped[2];
  std::vector<size_t> from;
  Sums sums;

  Network(const std::string& quantizer, const Inputs& in, const Sums& order) : sums(order) {
    int k = 1;
    for (Layer& l : layers) {
      l.weight = in.g(int64_t{l.out} * l.in * l.kernel * l.kernel, -0.3, 0.3, k);
      l.bias = in.g(l.out, -0.3, 0.3, k + 2);
      k += 4;
    }
    quantize(quantizer);
  }
  void quantize(const std::string& name);
  Values activate(int i, const Values& x, bool training);
  Values activate_backward(int i, const Values& up);
  Values forward(const Values& x, bool training, const Values* decision = nullptr);
  void backward(const Values& up);
  void step(const Sgd& sgd);
  bool lost() const;
};

std::unique_ptr<Quantizer> ranges(int bits, bool average) {
  RangeSpec spec;
  spec.bits = bits;
  spec.average = average;
  return std::make_unique<RangeQuantizer>(spec);
}

// int, symmetric, a range per row.
std::unique_ptr<Quantizer> ranges_of_rows(int bits, const Layer& l) {
  RangeSpec spec;
  spec.bits = bits;
  spec.is_signed = spec.symmetric = true;
  spec.channels = l.out;
  spec.inner = int64_t{l.in} * l.kernel * l.kernel;
  return std::make_unique<RangeQuantizer>(spec);
}

void Network::quantize(const std::string& name) {
  for (Layer& l : layers) {
    if (name == "qat8") l.of_weight = ranges(8, false), l.of_input = ranges(8, true);
    if (name == "qat4pc") l.of_weight = ranges_of_rows(4, l), l.of_input = ranges(4, true);
    if (name == "dorefa2") l.of_weight = std::make_unique<DorefaQuantizer>(2);
    if (name == "naive") l.of_weight = std::make_unique<NaiveQuantizer>();
    if (name != "lsq4") continue;
    l.of_weight = std::make_unique<LsqQuantizer>(4, sums);
    l.of_input = std::make_unique<LsqQuantizer>(4, sums);
  }
  if (name == "qat8") of_result[0] = ranges(8, true), of_result[1] = ranges(8, true);
  if (name != "bnn") return;
  of_result[0] = std::make_unique<SignQuantizer>(true);
  layers[1].of_weight = std::make_unique<SignQuantizer>(false);
}

Values Network::activate(int i, const Values& x, bool training) {
  before[i] = x;
  clamped[i] = clamp(x, kTop);
  return of_result[i] ? of_result[i]->forward(clamped[i], training) : clamped[i];
}

Values Network::activate_backward(int i, const Values& up) {
  return clamp_backward(of_result[i] ? of_result[i]->backward(up, clamped[i]) : up, before[i],
                        kTop);
}

Values Network::forward(const Values& x, bool training, const Values* decision) {
  const Values first = activate(0, layers[0].forward(x, training, sums), training);
  const Values pooled = max_pool(first, decision != nullptr ? *decision : first, 10, from);
  const Values second = activate(1, layers[1].forward(pooled, training, sums), training);
  return layers[2].forward(second, training, sums);
}

void Network::backward(const Values& up) {
  const Values second = activate_backward(1, layers[2].backward(up, sums));
  const Values pooled = layers[1].backward(second, sums);
  Values first(before[0].size());
  for (size_t i = 0; i < pooled.size(); ++i) first[from[i]] += pooled[i];
  layers[0].backward(activate_backward(0, first), sums);
}

void Network::step(const Sgd& sgd) {
  for (Layer& l : layers) l.step(sgd);
  for (auto& q : of_result) {
    if (q) q->step(sgd);
  }
}

bool Network::lost() const {
  bool any = false;
  for (const Layer& l : layers) any |= l.lost();
  for (const auto& q : of_result) any |= q && q->lost;
  return any;
}

Values log_softmax(const Values& x) {
  Values y;
  for (size_t i = 0; i < x.size(); ++i) {
    const float* row = &x[i / kClasses * kClasses];
    const double top = *std::max_element(row, row + kClasses);
    double sum = 0;
    for (size_t c = 0; c < kClasses; ++c) sum += std::exp(double{row[c]} - top);
    y.push_back(static_cast<float>(double{x[i]} - top - std::log(sum)));
  }
  return y;
}

// The mean of -log p of the labels; dlogits = (p - 1 at the label) / images.
float loss_of(const Values& logits, int step, Values& dlogits) {
  const Values logs = log_softmax(logits);
  const size_t images = logits.size() / kClasses;
  double loss = 0;
  dlogits.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    const bool label = i % kClasses == (step + i / kClasses) % kClasses;
    if (label) loss -= logs[i];
    const double d = std::exp(double{logs[i]}) - (label ? 1 : 0);
    dlogits.push_back(static_cast<float>(d / static_cast<double>(images)));
  }
  return static_cast<float>(loss / static_cast<double>(images));
}

}  // namespace

Trace train(const std::string& quantizer, const Inputs& in, const Sums& sums,
            const std::vector<Values>& decisions) {
  Network net(quantizer, in, sums);
  const Sgd sgd{0.05f, 0.9f};
  Trace trace;
  Values dlogits;
  for (int i = 0; i < 10; ++i) {
    const Values* decision = decisions.empty() ? nullptr : &decisions[i];
    const Values logits = net.forward(in.g(8 * 144, -1, 1, 2 * i + 1), true, decision);
    trace.losses.push_back(loss_of(logits, i, dlogits));
    if (net.lost()) trace.lost = std::min(trace.lost, i);
    net.backward(dlogits);
    net.step(sgd);
  }
  trace.logits = log_softmax(net.forward(in.g(2 * 144, -1, 1, 3), false));
  if (net.lost()) trace.lost = std::min(trace.lost, 10);
  return trace;
}

}  // namespace halftone::golden::reference
