#include "deploy/runtime/places.h"

#include <string.h>

#include <algorithm>

#include "deploy/runtime/binary.h"
#include "deploy/runtime/buffer_plan.h"

namespace halftone::runtime {
namespace {

// Bodies read up to a vector behind what they use.
constexpr int64_t kSlack = 64, kAlignment = 64;

bool has_border(const Op& op) {
  return op.kind == OpKind::kConvolution && (op.window.pad_h > 0 || op.window.pad_w > 0);
}

// A place of the value for this convolution, whose border may be wider than it needs.
int32_t place_for(const Op& op, int32_t value, bool bits, std::vector<bool>& bordered,
                  Places& all) {
  const auto fill = static_cast<uint8_t>(bits ? 0 : op.pad_code);
  const auto fits = [&](int32_t p) {
    return all.places[p].bits == bits &&
           (!has_border(op) || !bordered[p] || all.places[p].fill == fill);
  };
  int32_t found = -1;
  for (size_t p = 0; p < all.places.size(); ++p) {
    const auto place = static_cast<int32_t>(p);
    const bool holds = place == value ? value > 0 : all.copy_of[p] == value;
    if (found < 0 && holds && fits(place)) found = place;
  }
  if (found < 0) {
    found = static_cast<int32_t>(all.places.size());
    all.places.push_back(all.places[value]);
    Place& copy = all.places.back();
    copy.border_h = copy.border_w = 0, copy.bits = bits;
    if (bits) copy.shape.channels = bit_bytes(copy.shape.channels);
    all.copy_of.push_back(value);
    bordered.push_back(false);
  }
  if (has_border(op)) {
    Place& p = all.places[found];
    p.fill = fill, bordered[found] = true;
    p.border_h = std::max(p.border_h, op.window.pad_h);
    p.border_w = std::max(p.border_w, op.window.pad_w);
  }
  return found;
}

}  // namespace

Places lay_out(const Program& program) {
  Places all;
  for (const Value& v : program.values) {
    Place place;
    place.shape = v.shape;
    all.places.push_back(place);
  }
  all.copy_of.assign(all.places.size(), -1);
  std::vector<bool> bordered(all.places.size(), false);
  const std::vector<bool> bits = binary_convolutions(program);
  for (size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    all.in.push_back(op.inputs);
    if (op.kind == OpKind::kConvolution)
      all.in.back()[0] = place_for(op, op.inputs[0], bits[i], bordered, all);
  }
  return all;
}

int64_t plan_places(const Program& program, int64_t images, bool apart, Places& all) {
  const size_t end = program.ops.size();
  std::vector<Block> blocks;
  std::vector<size_t> first(all.places.size()), last(all.places.size()), order;
  for (size_t v = 1; v < program.values.size(); ++v) first[v] = last[v] = v - 1;
  for (size_t p = program.values.size(); p < all.places.size(); ++p)
    first[p] = last[p] = static_cast<size_t>(std::max(all.copy_of[p] - 1, 0));
  for (size_t i = 0; i < end; ++i) {
    for (const int32_t p : all.in[i]) {
      last[p] = i;
      if (all.copy_of[p] >= 0) last[all.copy_of[p]] = std::max(last[all.copy_of[p]], first[p]);
    }
  }
  for (size_t p = 1; p < all.places.size(); ++p) order.push_back(p);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return first[a] < first[b]; });
  for (const size_t p : order) {
    const int64_t bytes = all.places[p].image() * images + kSlack;
    const bool stays = apart || p + 1 == program.values.size();
    blocks.push_back(
        {(bytes + kAlignment - 1) / kAlignment * kAlignment, first[p], stays ? end : last[p]});
  }
  const BlockPlan plan = plan_blocks(blocks);
  for (size_t i = 0; i < order.size(); ++i) all.places[order[i]].offset = plan.offset[i];
  return plan.bytes;
}

void fill_border(const Place& place, const Round& round) {
  if (place.border_h == 0 && place.border_w == 0) return;
  const int64_t rows = int64_t{place.shape.height} + 2 * place.border_h, row = place.row();
  const auto side = static_cast<size_t>(int64_t{place.border_w} * place.shape.channels);
  uint8_t* first = round.buffer + place.offset;
  for (int64_t i = round.first(rows * round.count); i < round.last(rows * round.count); ++i) {
    uint8_t* to = first + i * row;
    const int64_t y = i % rows - place.border_h;
    if (y < 0 || y >= place.shape.height) {
      memset(to, place.fill, static_cast<size_t>(row));
    } else {
      memset(to, place.fill, side);
      memset(to + row - side, place.fill, side);
    }
  }
}

}  // namespace halftone::runtime
