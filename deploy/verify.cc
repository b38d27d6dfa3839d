#include "deploy/verify.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "deploy/explain.h"

namespace halftone {
namespace {

using runtime::Program;
using runtime::Value;

// Of row i of a batch of logits, the first of the largest.
int64_t label(const std::vector<float>& logits, int64_t i, int64_t classes) {
  const auto first = logits.begin() + i * classes;
  return std::max_element(first, first + classes) - first;
}

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

class Comparison {
 public:
  Comparison(const Program& program, const Dataset& data) : program_(program), data_(data) {
    distinct_.resize(program.values.size());
  }

  void count_codes(const BatchTensors& reference) {
    for (size_t v = 1; v < distinct_.size(); ++v) {
      for (const uint8_t code : reference.codes[v]) distinct_[v][code] = true;
    }
  }

  int64_t count_right(const BatchTensors& t, int64_t begin, int64_t count) const {
    int64_t right = 0;
    for (int64_t i = 0; i < count; ++i)
      right += label(t.reals, i, classes()) == data_.labels[begin + i];
    return right;
  }

  // A batch of a party beside the reference's.
  void compare(const BatchTensors& want, const BatchTensors& got, int64_t begin, int64_t count,
               PartyReport& r) const {
    r.differing_by_value.resize(program_.values.size());
    Place first;
    for (size_t v = 1; v < program_.values.size(); ++v) {
      if (program_.values[v].is_float) continue;
      if (got.codes[v].empty()) {
        if (begin == 0) r.not_shown.push_back(program_.values[v].name);
        continue;
      }
      compare_value(want.codes[v], got.codes[v], v, r, first);
    }
    compare_logits(want, got, count, r, first);
    if (r.first.has_value() || first.image < 0) return;
    r.first = describe(first, begin, want, got);
  }

  int distinct(size_t v) const {
    return static_cast<int>(std::count(distinct_[v].begin(), distinct_[v].end(), true));
  }

 private:
  // The first difference: by image, then by value, then by position.
  struct Place {
    int64_t image = -1, index = 0;  // the index within the image
    size_t value = 0;
    void take(int64_t i, size_t v, int64_t k) {
      if (image < 0 || i < image) *this = {i, k, v};
    }
  };

  int64_t classes() const { return program_.result().shape.size(); }

  void compare_value(const std::vector<uint8_t>& want, const std::vector<uint8_t>& got, size_t v,
                     PartyReport& r, Place& first) const {
    if (want.size() != got.size())
      throw HALFTONE_ERROR("verify")
          .at(program_.values[v].name)
          .expected(std::to_string(want.size()) + " codes, as the reference has them")
          .found(std::to_string(got.size()) + " from " + r.name);
    r.codes += static_cast<int64_t>(want.size());
    if (want == got) return;
    const int64_t size = program_.values[v].shape.size();
    for (size_t i = 0; i < want.size(); ++i) {
      if (want[i] == got[i]) continue;
      ++r.differing;
      ++r.differing_by_value[v];
      first.take(static_cast<int64_t>(i) / size, v, static_cast<int64_t>(i) % size);
    }
  }

  void compare_logits(const BatchTensors& want, const BatchTensors& got, int64_t count,
                      PartyReport& r, Place& first) const {
    for (int64_t i = 0; i < count; ++i) {
      r.differing_labels += label(want.reals, i, classes()) != label(got.reals, i, classes());
      for (int64_t k = 0; k < classes(); ++k) {
        ++r.logits;
        if (same_bits(want.reals[i * classes() + k], got.reals[i * classes() + k])) continue;
        ++r.differing_logits;
        first.take(i, program_.values.size() - 1, k);
      }
    }
  }

  // begin: the data set's number of the batch's first image.
  Divergence describe(const Place& p, int64_t begin, const BatchTensors& want,
                      const BatchTensors& got) const {
    const Value& value = program_.values[p.value];
    const runtime::Op& op = program_.ops[p.value - 1];
    Divergence d;
    d.layer = value.name;
    d.operation = runtime::name_of(op.kind);
    d.image = begin + p.image;
    d.channel = p.index % value.shape.channels;
    d.x = p.index / value.shape.channels % value.shape.width;
    d.y = p.index / value.shape.channels / value.shape.width;
    const int64_t at = p.image * value.shape.size() + p.index;
    const bool reals = value.is_float;
    d.expected = reals ? static_cast<double>(want.reals[at]) : want.codes[p.value][at];
    d.found = reals ? static_cast<double>(got.reals[at]) : got.codes[p.value][at];
    d.rule = explain(program_, p.value - 1, inputs_of(want, p.image, begin),
                     part(got.codes[p.value], p.image, value), part(got.reals, p.image, value));
    return d;
  }

  // One image's part of a batch.
  template <class T>
  static std::vector<T> part(const std::vector<T>& batch, int64_t image, const Value& value) {
    const int64_t size = value.shape.size(), from = image * size;
    if (from + size > static_cast<int64_t>(batch.size())) return {};
    return {batch.begin() + from, batch.begin() + from + size};
  }

  // The reference's codes of one image.
  CodeTensors inputs_of(const BatchTensors& t, int64_t image, int64_t begin) const {
    CodeTensors codes(t.codes.size());
    const int64_t bytes = program_.input().shape.size();
    const uint8_t* pixels = data_.images.data<uint8_t>() + (begin + image) * bytes;
    codes[0].assign(pixels, pixels + bytes);
    for (size_t v = 1; v < codes.size(); ++v)
      codes[v] = part(t.codes[v], image, program_.values[v]);
    return codes;
  }

  const Program& program_;
  const Dataset& data_;
  std::vector<std::array<bool, 256>> distinct_;
};

void check_images(const Program& program, const Dataset& data) {
  const integer::Image& s = program.input().shape;
  if (data.height() == s.height && data.width() == s.width && data.channels() == s.channels) return;
  throw HALFTONE_ERROR("verify")
      .expected("images of " + std::to_string(s.channels) + " x " + std::to_string(s.height) +
                " x " + std::to_string(s.width) + ", as program " + program.network + " takes")
      .found(std::to_string(data.channels()) + " x " + std::to_string(data.height()) + " x " +
             std::to_string(data.width()) + " in data set " + data.name);
}

VerifyReport empty_report(const Program& program, const std::vector<PartyPtr>& parties,
                          const Dataset& data, int64_t images) {
  VerifyReport r;
  r.network = program.network;
  r.dataset = data.name;
  r.images = images;
  r.reference = parties.at(0)->name();
  for (size_t p = 1; p < parties.size(); ++p) r.parties.emplace_back().name = parties[p]->name();
  return r;
}

}  // namespace

std::string VerifyReport::dead() const {
  for (const TensorReport& t : tensors) {
    if (t.distinct < 2) return t.layer;
  }
  return "";
}

bool VerifyReport::passes() const {
  const auto equal = [](const PartyReport& p) {
    return p.differing == 0 && p.differing_logits == 0 && p.differing_labels == 0;
  };
  return std::all_of(parties.begin(), parties.end(), equal) && dead().empty() && !parties.empty();
}

VerifyReport verify(const Program& program, const std::vector<PartyPtr>& parties,
                    const Dataset& data, int64_t images, int64_t batch,
                    const OnVerified& progress) {
  check_images(program, data);
  const auto start = std::chrono::steady_clock::now();
  const int64_t total = images > 0 ? std::min(images, data.size()) : data.size();
  VerifyReport r = empty_report(program, parties, data, total);
  Comparison comparison(program, data);
  std::vector<int64_t> right(parties.size());
  for (int64_t begin = 0; begin < total; begin += batch) {
    const int64_t count = std::min(batch, total - begin);
    const uint8_t* bytes = data.images.data<uint8_t>() + begin * program.input().shape.size();
    const BatchTensors reference = parties[0]->run(bytes, count);
    comparison.count_codes(reference);
    right[0] += comparison.count_right(reference, begin, count);
    for (size_t p = 1; p < parties.size(); ++p) {
      const BatchTensors other = parties[p]->run(bytes, count);
      comparison.compare(reference, other, begin, count, r.parties[p - 1]);
      right[p] += comparison.count_right(other, begin, count);
    }
    if (progress) progress(begin + count, total);
  }
  const auto share = [&](int64_t n) { return static_cast<double>(n) / static_cast<double>(total); };
  r.accuracy = share(right[0]);
  for (size_t p = 1; p < parties.size(); ++p) r.parties[p - 1].accuracy = share(right[p]);
  for (size_t v = 1; v < program.values.size(); ++v) {
    const Value& value = program.values[v];
    if (value.is_float) continue;
    r.tensors.push_back({value.name, runtime::name_of(program.ops[v - 1].kind),
                         total * value.shape.size(), comparison.distinct(v)});
  }
  r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return r;
}

}  // namespace halftone
