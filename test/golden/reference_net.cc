#include "test/golden/reference_net.h"

#include <algorithm>
#include <cmath>

namespace halftone::golden::reference {

namespace {

// Where weight (o, c, a, b), the input (n, c, i + a, j + b) and the result (n, o, i, j) lie.
struct Place {
  size_t weight, input, result;
};

// body(place) for every product between one input and one output channel's planes.
template <class Body>
void for_window_products(const Layer& l, const Place& first, Body body) {
  const size_t k = l.kernel, s = l.size, r = l.result_size();
  for (size_t i = 0; i < r; ++i) {
    for (size_t j = 0; j < r; ++j) {
      for (size_t a = 0; a < k; ++a) {
        for (size_t b = 0; b < k; ++b) {
          body(Place{first.weight + a * k + b, first.input + (i + a) * s + j + b,
                     first.result + i * r + j});
        }
      }
    }
  }
}

// For every product of the layer.
template <class Body>
void for_products(const Layer& l, size_t images, Body body) {
  const size_t k = l.kernel, s = l.size, r = l.result_size(), in = l.in, out = l.out;
  for (size_t n = 0; n < images; ++n) {
    for (size_t o = 0; o < out; ++o) {
      for (size_t c = 0; c < in; ++c) {
        const Place first{(o * in + c) * k * k, (n * in + c) * s * s, (n * out + o) * r * r};
        for_window_products(l, first, body);
      }
    }
  }
}

using Terms = std::vector<std::vector<double>>;

// As many sums, with room for their terms.
Terms room(size_t sums, size_t terms) {
  Terms out(sums);
  for (auto& t : out) t.reserve(terms);
  return out;
}

Values added(const Terms& terms, const Sums& sums) {
  Values out;
  for (const auto& t : terms) out.push_back(sums.of(t));
  return out;
}

size_t images_of(const Layer& l, const Values& x) { return x.size() / (l.in * l.size * l.size); }

size_t channel_of(const Layer& l, size_t result) {
  return result / (l.result_size() * l.result_size()) % l.out;
}

}  // namespace

Values Layer::forward(const Values& input, bool training, const Sums& sums) {
  x = input;
  x_q = of_input ? of_input->forward(x, training) : x;
  w_q = of_weight ? of_weight->forward(weight, training) : weight;
  const size_t images = images_of(*this, x);
  const size_t window = size_t{1} * in * kernel * kernel;
  Terms terms = room(images * out * result_size() * result_size(), window + 1);
  for_products(*this, images, [&](const Place& p) {
    terms[p.result].push_back(double{x_q[p.input]} * double{w_q[p.weight]});
  });
  for (size_t i = 0; i < terms.size() && !bias.empty(); ++i)
    terms[i].push_back(bias[channel_of(*this, i)]);
  return added(terms, sums);
}

Values Layer::backward(const Values& up, const Sums& sums) {
  Terms to_weight = room(weight.size(), up.size() / out);
  Terms to_bias = room(bias.size(), up.size() / out);
  Terms to_input = room(x.size(), size_t{1} * out * kernel * kernel);
  for_products(*this, images_of(*this, x), [&](const Place& p) {
    to_weight[p.weight].push_back(double{up[p.result]} * double{x_q[p.input]});
    to_input[p.input].push_back(double{up[p.result]} * double{w_q[p.weight]});
  });
  for (size_t i = 0; i < up.size() && !bias.empty(); ++i)
    to_bias[channel_of(*this, i)].push_back(up[i]);
  dw = added(to_weight, sums);
  if (of_weight) dw = of_weight->backward(dw, weight);
  db = added(to_bias, sums);
  const Values dx = added(to_input, sums);
  return of_input ? of_input->backward(dx, x) : dx;
}

void Layer::step(const Sgd& sgd) {
  weight_buffer.resize(weight.size());
  bias_buffer.resize(bias.size());
  reference::step(sgd, dw, weight_buffer, weight);
  reference::step(sgd, db, bias_buffer, bias);
  if (of_weight) of_weight->step(sgd);
  if (of_input) of_input->step(sgd);
}

bool Layer::lost() const { return (of_weight && of_weight->lost) || (of_input && of_input->lost); }

Values clamp(const Values& x, float top) {
  Values y;
  for (const float v : x) y.push_back(std::clamp(v, 0.0f, top));
  return y;
}

Values clamp_backward(const Values& up, const Values& x, float top) {
  Values dx = up;
  for (size_t i = 0; i < x.size(); ++i) dx[i] = x[i] > 0 && x[i] < top ? up[i] : 0.0f;
  return dx;
}

}  // namespace halftone::golden::reference
