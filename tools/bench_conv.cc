// Times every convolution and linear layer of LeNet-5, ResNet-20 and the BNN VGG: forward, data
// gradient and weight gradient, by the body that Halftone chooses and by the others; and the
// forward on codes, by the chosen body and by the one on floats.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <functional>

#include "kernels/conv_bodies.h"
#include "kernels/conv_direct.h"
#include "kernels/conv_winograd.h"
#include "kernels/integer_bodies.h"
#include "kernels/integer_conv.h"
#include "kernels/matmul.h"
#include "kernels/matmul_bodies.h"

namespace {

using namespace halftone;
using kernels::ConvBodies;
using kernels::MatmulBody;

struct Layer {
  const char* network;
  int64_t n, size, c, o, kernel;  // size 0: a linear layer of c inputs and o outputs
  int stride, pad;
  int repeats;  // how often the network has the layer
};

const std::vector<Layer> kLayers = {
    {"lenet", 64, 28, 1, 6, 5, 1, 2, 1},       {"lenet", 64, 14, 6, 16, 5, 1, 0, 1},
    {"lenet", 64, 0, 400, 120, 1, 1, 0, 1},    {"lenet", 64, 0, 120, 84, 1, 1, 0, 1},
    {"lenet", 64, 0, 84, 10, 1, 1, 0, 1},      {"resnet20", 128, 32, 3, 16, 3, 1, 1, 1},
    {"resnet20", 128, 32, 16, 16, 3, 1, 1, 6}, {"resnet20", 128, 32, 16, 32, 3, 2, 1, 1},
    {"resnet20", 128, 16, 32, 32, 3, 1, 1, 5}, {"resnet20", 128, 16, 32, 64, 3, 2, 1, 1},
    {"resnet20", 128, 8, 64, 64, 3, 1, 1, 5},  {"resnet20", 128, 0, 64, 10, 1, 1, 0, 1},
    {"vgg", 64, 32, 3, 128, 3, 1, 1, 1},       {"vgg", 64, 32, 128, 128, 3, 1, 1, 1},
    {"vgg", 64, 16, 128, 256, 3, 1, 1, 1},     {"vgg", 64, 16, 256, 256, 3, 1, 1, 1},
    {"vgg", 64, 8, 256, 512, 3, 1, 1, 1},      {"vgg", 64, 8, 512, 512, 3, 1, 1, 1},
    {"vgg", 64, 0, 8192, 1024, 1, 1, 0, 1},    {"vgg", 64, 0, 1024, 1024, 1, 1, 0, 1},
    {"vgg", 64, 0, 1024, 10, 1, 1, 0, 1},
};

struct Settings {
  int threads = 0;
  double seconds = 0.1;  // per measurement
  std::string network;   // empty: all
  bool portable = false, reference = false;
};

// Seconds: the processor time of one thread, which other load disturbs least, or the wall's.
double now(int threads) {
  timespec t;
  clock_gettime(threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Milliseconds of the fastest call (other load only adds); one call before the clock starts.
double milliseconds(const Settings& settings, const std::function<void()>& call) {
  call();
  std::vector<double> times;
  const double start = now(settings.threads);
  while (now(settings.threads) - start < settings.seconds || times.size() < 3) {
    const double begin = now(settings.threads);
    call();
    times.push_back(1e3 * (now(settings.threads) - begin));
  }
  return *std::min_element(times.begin(), times.end());
}

void print(double ms, double flops) { std::printf(" | %8.3f ms %6.1f", ms, flops / ms / 1e6); }

struct Operands {
  Operands(const Context& context, const Shape& xs, const Shape& ws, const Shape& ys)
      : x(Tensor::full(context, xs, 0.5f)),
        w(Tensor::full(context, ws, 0.25f)),
        y(Tensor::full(context, ys, 0.125f)),
        dx(Tensor::zeros(context, xs)),
        dw(Tensor::zeros(context, ws)) {}
  Tensor x, w, y, dx, dw;
};

const ConvBodies kChosen{
    [](const kernels::ConvGeometry& g, const Tensor& x, const Tensor& w, const Tensor* bias,
       Tensor& y) { kernels::conv2d(x, w, bias, g.options, y); },
    [](const kernels::ConvGeometry& g, const Tensor& dy, const Tensor& w, Tensor& dx) {
      kernels::conv2d_backward_data(dy, w, g.options, dx);
    },
    [](const kernels::ConvGeometry& g, const Tensor& x, const Tensor& dy, Tensor& dw,
       Tensor* dbias) { kernels::conv2d_backward_weight(x, dy, g.options, dw, dbias); }};

const ConvBodies kReference{
    [](const kernels::ConvGeometry& g, const Tensor& x, const Tensor& w, const Tensor* bias,
       Tensor& y) { kernels::reference::conv2d(x, w, bias, g.options, y); },
    [](const kernels::ConvGeometry& g, const Tensor& dy, const Tensor& w, Tensor& dx) {
      kernels::reference::conv2d_backward_data(dy, w, g.options, dx);
    },
    [](const kernels::ConvGeometry& g, const Tensor& x, const Tensor& dy, Tensor& dw,
       Tensor* dbias) { kernels::reference::conv2d_backward_weight(x, dy, g.options, dw, dbias); }};

bool any_shape(const kernels::ConvGeometry&) { return true; }

struct Column {
  const char* name;
  const ConvBodies* bodies;  // null: not on this machine, or not asked for
  bool (*takes)(const kernels::ConvGeometry&) = any_shape;
};

std::vector<Column> conv_columns(const Settings& settings) {
  std::vector<Column> columns = {
      {"chosen", &kChosen},
      {"oneDNN", kernels::onednn_conv()},
      {"direct AVX-512", kernels::direct_conv_avx512(), kernels::direct_conv_takes},
      {"Winograd AVX-512", kernels::winograd_conv_avx512(), kernels::winograd_avx512_takes},
      {"direct AVX2", kernels::direct_conv_avx2(), kernels::direct_conv_takes},
      {"Winograd AVX2", kernels::winograd_conv_avx2(), kernels::winograd_avx2_takes},
      {"portable", settings.portable ? &kernels::portable_conv() : nullptr},
      {"reference", settings.reference ? &kReference : nullptr}};
  columns.erase(std::remove_if(columns.begin(), columns.end(),
                               [](const Column& c) { return c.bodies == nullptr; }),
                columns.end());
  return columns;
}

void print_layer(const Layer& l, const char* op) {
  if (l.size == 0) {
    std::printf("%-9s linear %ld -> %ld  %-8s", l.network, l.c, l.o, op);
    return;
  }
  std::printf("%-9s %3ld x %ld, %ld -> %ld, %ldx%ld/%d x%d  %-8s", l.network, l.size, l.size, l.c,
              l.o, l.kernel, l.kernel, l.stride, l.repeats, op);
}

// The forward of a quantized layer: the chosen body, the search for its bound included, and the
// one on floats. Weights of this size are usual: large layers pass 2^24.
void bench_codes(const Settings& settings, const Context& context, const Layer& l, const Shape& xs,
                 const Shape& ws, const Shape& ys, double flops) {
  const Codes x{Tensor::from(context, xs, std::vector<uint8_t>(xs.numel(), 200)), {}};
  const Tensor w = Tensor::from(context, ws, std::vector<int8_t>(ws.numel(), 25));
  Tensor acc = Tensor::empty(context, ys, DType::kInt32);
  const Conv2dOptions options{l.stride, l.stride, l.pad, l.pad, 1, 1, 1};
  const kernels::IntegerBody& floats = kernels::float_integer_body();
  const int64_t bound = kernels::accumulator_bounds(x.params, w).at(0);
  print_layer(l, "codes");
  if (l.size == 0) {
    print(milliseconds(settings, [&] { kernels::integer_linear(x, w, acc); }), flops);
    print(milliseconds(settings, [&] { floats.linear(x, w, bound, acc, nullptr); }), flops);
  } else {
    const kernels::ConvGeometry g = kernels::conv_geometry("bench", xs, ws, options);
    print(milliseconds(settings, [&] { kernels::integer_conv2d(x, w, options, acc); }), flops);
    print(milliseconds(settings, [&] { floats.conv2d(g, x, w, bound, acc, nullptr); }), flops);
  }
  std::printf("\n");
}

// Empty where the bodies lack the operation.
std::function<void()> call_of(const ConvBodies& b, const std::string& op,
                              const kernels::ConvGeometry& g, Operands& t) {
  if (op == "forward" && b.forward != nullptr) return [&] { b.forward(g, t.x, t.w, nullptr, t.y); };
  if (op == "data" && b.backward_data != nullptr)
    return [&] { b.backward_data(g, t.y, t.w, t.dx); };
  if (op == "weight" && b.backward_weight != nullptr)
    return [&] { b.backward_weight(g, t.x, t.y, t.dw, nullptr); };
  return nullptr;
}

void bench_conv(const Settings& settings, const Context& context, const Layer& l) {
  const Conv2dOptions options{l.stride, l.stride, l.pad, l.pad, 1, 1, 1};
  const Shape xs{l.n, l.size, l.size, l.c}, ws{l.o, l.kernel, l.kernel, l.c};
  const kernels::ConvGeometry g = kernels::conv_geometry("bench", xs, ws, options);
  Operands t(context, xs, ws, {g.n, g.oh, g.ow, g.o});
  const double flops = 2.0 * g.n * g.pixels() * g.o * g.taps();
  for (const char* op : {"forward", "data", "weight"}) {
    print_layer(l, op);
    for (const Column& c : conv_columns(settings)) {
      const std::function<void()> call = call_of(*c.bodies, op, g, t);
      if (c.takes(g) && call) {
        print(milliseconds(settings, call), flops);
      } else {
        std::printf(" | %18s", "-");
      }
    }
    std::printf("\n");
  }
  bench_codes(settings, context, l, xs, ws, t.y.shape(), flops);
}

void bench_linear(const Settings& settings, const Context& context, const Layer& l) {
  Operands t(context, {l.n, l.c}, {l.o, l.c}, {l.n, l.o});
  const double flops = 2.0 * l.n * l.c * l.o;
  const float *x = t.x.data<float>(), *w = t.w.data<float>(), *y = t.y.data<float>();
  const auto line = [&](const char* op, const std::function<void()>& chosen,
                        const kernels::MatmulProblem& p, const float* a, const float* b,
                        Tensor& c) {
    print_layer(l, op);
    print(milliseconds(settings, chosen), flops);
    for (const MatmulBody body :
         {kernels::onednn_matmul(), settings.portable ? kernels::portable_matmul : nullptr}) {
      if (body == nullptr) continue;
      print(milliseconds(settings, [&] { body(context, p, a, b, c.data<float>()); }), flops);
    }
    std::printf("\n");
  };
  line(
      "forward", [&] { kernels::linear(t.x, t.w, nullptr, t.y); },
      {l.n, l.o, l.c, false, true, 0.0f}, x, w, t.y);
  line(
      "data", [&] { kernels::linear_backward_data(t.y, t.w, t.dx); },
      {l.n, l.c, l.o, false, false, 0.0f}, y, w, t.dx);
  line(
      "weight", [&] { kernels::linear_backward_weight(t.x, t.y, t.dw, nullptr); },
      {l.o, l.c, l.n, true, false, 0.0f}, y, x, t.dw);
  bench_codes(settings, context, l, t.x.shape(), t.w.shape(), t.y.shape(), flops);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Times the convolutions and linear layers of the benchmark networks."};
  app.add_option("--threads", settings.threads, "threads (0: all)");
  app.add_option("--seconds", settings.seconds, "time per measurement");
  app.add_option("--network", settings.network, "lenet, resnet20 or vgg (default: all)");
  app.add_flag("--portable", settings.portable, "also the portable bodies");
  app.add_flag("--reference", settings.reference, "also the plain loops (slow)");
  CLI11_PARSE(app, argc, argv);
  ContextOptions options;
  options.threads = settings.threads;
  const Context context(options);
  std::printf("%d threads; ms and GFLOP/s of convolutions:", context.threads());
  for (const Column& c : conv_columns(settings)) std::printf(" | %s", c.name);
  std::printf("\nlinear layers: chosen%s%s; codes: chosen | by floats\n",
              kernels::onednn_matmul() != nullptr ? " | oneDNN" : "",
              settings.portable ? " | portable" : "");
  for (const Layer& layer : kLayers) {
    if (!settings.network.empty() && settings.network != layer.network) continue;
    (layer.size == 0 ? bench_linear : bench_conv)(settings, context, layer);
  }
}
