// Tensors of a session in memory. Inside this folder.
#pragma once

#include <stdint.h>

#include <vector>

#include "deploy/runtime/program.h"
#include "kernels/integer/products.h"

namespace halftone::runtime {

// Images one after the other, each with a border of `fill` for the windows of its readers.
struct Place {
  integer::Image shape;
  int32_t border_h = 0, border_w = 0;
  uint8_t fill = 0;
  bool bits = false;   // packed; channels are then bytes of a pixel
  int64_t offset = 0;  // in a thread's buffer

  int64_t row() const { return (int64_t{shape.width} + 2 * border_w) * shape.channels; }
  int64_t image() const { return (int64_t{shape.height} + 2 * border_h) * row(); }
  // From an image's first byte to its first pixel.
  int64_t inside() const { return border_h * row() + int64_t{border_w} * shape.channels; }
  integer::Steps steps() const { return {image(), row(), shape.channels}; }
};

// What the program's tensors become. Place v holds value v; places behind those are copies of a
// value (`copy_of`) for convolutions that need another border, or bits.
struct Places {
  std::vector<Place> places;
  std::vector<int32_t> copy_of;          // by place; -1: none
  std::vector<std::vector<int32_t>> in;  // by operation: the places that it reads
};
Places lay_out(const Program& program);

// Sets the offsets for `images` in a row; returns the bytes that they take together. `apart`: no
// two places share memory.
int64_t plan_places(const Program& program, int64_t images, bool apart, Places& places);

// The images of one round, on one thread.
struct Round {
  const uint8_t* images;  // (count, H, W, C) bytes
  float* results;
  int64_t count;
  uint8_t* buffer;   // of the places
  int32_t* scratch;  // of the thread alone
  int part, parts;   // this thread's share of every step

  // The share of `items`.
  int64_t first(int64_t items) const { return items * part / parts; }
  int64_t last(int64_t items) const { return items * (part + 1) / parts; }
};

// The first pixel of the first image of place `p`; place 0 is the round's images.
inline const uint8_t* source(const Places& all, int32_t p, const Round& round) {
  if (p == 0) return round.images;
  return round.buffer + all.places[p].offset + all.places[p].inside();
}
inline uint8_t* target(const Places& all, int32_t p, const Round& round) {
  return round.buffer + all.places[p].offset + all.places[p].inside();
}

// Writes the border.
void fill_border(const Place& place, const Round& round);

}  // namespace halftone::runtime
