#include "deploy/runtime/session.h"

#include <string.h>

#include <algorithm>

#include "deploy/runtime/aligned.h"
#include "deploy/runtime/step.h"
#include "deploy/runtime/thread_team.h"

namespace halftone::runtime {
namespace {

// A thread runs as many images at once as keep its tensors in the caches, so that weights are read
// for several.
constexpr int64_t kBytesAtOnce = 1 << 20, kImagesAtOnce = 32;

int64_t images_at_once(const Program& program, bool apart, Places& places) {
  const int64_t one = plan_places(program, 1, apart, places);
  return std::clamp<int64_t>(kBytesAtOnce / std::max<int64_t>(one, 1), 1, kImagesAtOnce);
}

}  // namespace

struct Session::Impl {
  Impl(std::shared_ptr<const Program> p, const SessionOptions& o)
      : program(std::move(p)), options(o), team(std::max(1, o.threads)) {
    check_program(*program);
    places = lay_out(*program);
    at_once = images_at_once(*program, options.keeps_tensors, places);
    buffer_bytes = plan_places(*program, at_once, options.keeps_tensors, places);
    add_copies(0);
    int64_t scratch_size = 0;
    for (size_t i = 0; i < program->ops.size(); ++i) {
      steps.push_back(make_step(*program, i, places, options.body));
      scratch_size = std::max(scratch_size, steps.back()->scratch());
      add_copies(program->ops[i].output);
    }
    buffers.assign(team.size(), Aligned<uint8_t>(static_cast<size_t>(buffer_bytes)));
    scratch.assign(team.size(), Aligned<int32_t>(static_cast<size_t>(scratch_size)));
    if (options.keeps_tensors) kept.resize(program->values.size());
    result.resize(static_cast<size_t>(program->result().shape.size()));
  }

  void add_copies(int32_t value) {
    for (size_t p = 0; p < places.places.size(); ++p) {
      if (places.copy_of[p] == value)
        steps.push_back(make_copy(places, value, static_cast<int32_t>(p), options.body));
    }
  }

  // Images [first, first + count), at most at_once, by `parts` threads of which this is `part`.
  void run_round(const uint8_t* images, int64_t first, int64_t count, float* results, int thread,
                 int parts) {
    const int64_t in = program->input().shape.size(), out = program->result().shape.size();
    const int owner = parts > 1 ? 0 : thread;
    const Round round{images + first * in,    results + first * out,  count, buffers[owner].data(),
                      scratch[thread].data(), parts > 1 ? thread : 0, parts};
    for (const StepPtr& step : steps) {
      step->run(round);
      if (parts > 1) team.meet();
    }
    if (round.part == 0) {
      if (!program->result().is_float) dequantize(round);
      if (options.keeps_tensors) keep(round, first);
    }
    if (parts > 1) team.meet();
  }

  void dequantize(const Round& round) const {
    const Value& v = program->result();
    const auto last = static_cast<int32_t>(program->values.size()) - 1;
    const Place& place = places.places[last];
    const int64_t row = int64_t{v.shape.width} * v.shape.channels;
    for (int64_t i = 0; i < round.count * v.shape.height; ++i) {
      const uint8_t* codes = source(places, last, round) + i / v.shape.height * place.image() +
                             i % v.shape.height * place.row();
      for (int64_t k = 0; k < row; ++k)
        round.results[i * row + k] = v.scale * static_cast<float>(codes[k] - v.zero_point);
    }
  }

  void keep(const Round& round, int64_t first) {
    for (size_t v = 1; v < program->values.size(); ++v) {
      if (program->values[v].is_float) continue;
      const Place& place = places.places[v];
      const int64_t height = place.shape.height, row = place.shape.size() / height;
      const uint8_t* from = source(places, static_cast<int32_t>(v), round);
      uint8_t* to = kept[v].data() + first * place.shape.size();
      for (int64_t i = 0; i < round.count * height; ++i, to += row) {
        memcpy(to, from + i / height * place.image() + i % height * place.row(),
               static_cast<size_t>(row));
      }
    }
  }

  // Every thread takes images of its own; what is left they compute together, layer by layer.
  void run(const uint8_t* images, int64_t count, float* results) {
    for (size_t v = 1; v < kept.size(); ++v) {
      if (!program->values[v].is_float)
        kept[v].resize(static_cast<size_t>(count * program->values[v].shape.size()));
    }
    const int64_t own = count / team.size();
    team.run([&](int thread) {
      for (int64_t i = 0; i < own; i += at_once)
        run_round(images, thread * own + i, std::min(at_once, own - i), results, thread, 1);
      team.meet();
      for (int64_t i = own * team.size(); i < count; i += at_once)
        run_round(images, i, std::min(at_once, count - i), results, thread, team.size());
    });
  }

  std::shared_ptr<const Program> program;
  SessionOptions options;
  ThreadTeam team;
  Places places;
  int64_t at_once = 1, buffer_bytes = 0;
  std::vector<StepPtr> steps;
  std::vector<Aligned<uint8_t>> buffers;  // one per thread
  std::vector<Aligned<int32_t>> scratch;
  std::vector<std::vector<uint8_t>> kept;  // by value, all images of a call
  std::vector<float> result;
};

Session::Session(std::shared_ptr<const Program> program, const SessionOptions& options)
    : impl_(std::make_unique<Impl>(std::move(program), options)) {}
Session::~Session() = default;

const Program& Session::program() const { return *impl_->program; }

void Session::run(const uint8_t* images, int64_t count, float* results) {
  impl_->run(images, count, results);
}

const std::vector<float>& Session::run(const uint8_t* image, size_t bytes) {
  const integer::Image& s = program().input().shape;
  if (bytes == static_cast<size_t>(s.size())) {
    run(image, 1, impl_->result.data());
    return impl_->result;
  }
  throw ProgramError("program " + program().network + " takes images of " +
                     std::to_string(s.height) + " x " + std::to_string(s.width) + " pixels and " +
                     std::to_string(s.channels) + " channels, " + std::to_string(s.size()) +
                     " bytes, not " + std::to_string(bytes));
}

const uint8_t* Session::codes(int32_t value) const {
  if (!impl_->options.keeps_tensors)
    throw ProgramError("the session keeps no tensors: set SessionOptions::keeps_tensors");
  return impl_->kept.at(value).data();
}

int32_t index_of_largest(const std::vector<float>& logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace halftone::runtime
