#include "tensor/shape.h"

#include <algorithm>

#include "tensor/error.h"

namespace halftone {
namespace {

std::string join(const int64_t* begin, const int64_t* end) {
  std::string text = "[";
  for (const int64_t* p = begin; p != end; ++p) {
    if (p != begin) text += ", ";
    text += std::to_string(*p);
  }
  return text + "]";
}

// The element count must fit int64 even where another extent is 0.
void check_extents(const int64_t* begin, const int64_t* end) {
  if (end - begin > Shape::kMaxRank) {
    throw HALFTONE_ERROR("shape")
        .expected("at most " + std::to_string(Shape::kMaxRank) + " axes")
        .found(join(begin, end));
  }
  int64_t count = 1;
  for (const int64_t* p = begin; p != end; ++p) {
    if (*p < 0) {
      throw HALFTONE_ERROR("shape").expected("extents of at least 0").found(join(begin, end));
    }
    if (__builtin_mul_overflow(count, std::max<int64_t>(*p, 1), &count)) {
      throw HALFTONE_ERROR("shape").expected("fewer than 2^63 elements").found(join(begin, end));
    }
  }
}

}  // namespace

Shape::Shape(std::initializer_list<int64_t> dims) {
  check_extents(dims.begin(), dims.end());
  rank_ = static_cast<int>(dims.size());
  std::copy(dims.begin(), dims.end(), dims_.begin());
}

Shape::Shape(const std::vector<int64_t>& dims) {
  check_extents(dims.data(), dims.data() + dims.size());
  rank_ = static_cast<int>(dims.size());
  std::copy(dims.begin(), dims.end(), dims_.begin());
}

int64_t Shape::dim(int axis) const {
  const int from_front = axis < 0 ? axis + rank_ : axis;
  if (from_front < 0 || from_front >= rank_) {
    throw HALFTONE_ERROR("shape")
        .expected("an axis of " + str() + ", " + std::to_string(-rank_) + " to " +
                  std::to_string(rank_ - 1))
        .found("axis " + std::to_string(axis));
  }
  return dims_[from_front];
}

int64_t Shape::numel() const {
  int64_t count = 1;
  for (int64_t extent : *this) count *= extent;
  return count;
}

bool Shape::operator==(const Shape& other) const {
  return rank_ == other.rank_ && std::equal(begin(), end(), other.begin());
}

std::string Shape::str() const { return join(begin(), end()); }

}  // namespace halftone
