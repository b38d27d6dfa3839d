// The two VGGs: 128, 128, pool, 256, 256, pool, 512, 512, pool.
#include "nn/zoo/networks.h"
#include "nn/zoo/pieces.h"

namespace halftone {
namespace {

constexpr int kWidths[] = {128, 128, 256, 256, 512, 512};  // every second one pools
constexpr int kFlat = 512 * 4 * 4;

ModulePtr whole(const Context& c, ModulePtr features, ModulePtr classifier) {
  auto net = make<Sequential>(c);
  net->append("features", std::move(features))
      .append("flatten", make<Flatten>(c))
      .append("classifier", std::move(classifier));
  return net;
}

// NNI's order pools before the batch norm, the other one behind the activation.
ModulePtr binary_features(const Context& c, bool pool_last) {
  auto features = make<Sequential>(c);
  int in = 3, i = 0;
  for (int out : kWidths) {
    const bool pools = i++ % 2 == 1;
    features->append(make_conv(c, {in, out}));
    if (pools && !pool_last) features->append(make_max_pool(c));
    features->append(make_batch_norm2d(c, out, pool_last ? 1e-5f : 1e-4f)).append(make_hardtanh(c));
    if (pools && pool_last) features->append(make_max_pool(c));
    in = out;
  }
  return features;
}

}  // namespace

// "nni": the module order, epsilons and final layers of NNI's BNN example. "pool_last": conv -
// batch norm - Hardtanh - pool, no bias anywhere, affine batch norm at the end.
ModulePtr make_bnn_vgg(const Context& c, const ModelOptions& options) {
  const bool pool_last = options.variant == "pool_last";
  auto classifier = make<Sequential>(c);
  for (int in : {kFlat, 1024}) {
    classifier->append(make_linear(c, in, 1024, false))
        .append(make_batch_norm1d(c, 1024))
        .append(make_hardtanh(c));
  }
  classifier->append(make_linear(c, 1024, options.num_classes, !pool_last))
      .append(make_batch_norm1d(c, options.num_classes, pool_last));
  return whole(c, binary_features(c, pool_last), classifier);
}

ModulePtr make_vgg_small(const Context& c, const ModelOptions& options) {
  auto features = make<Sequential>(c);
  int in = 3, i = 0;
  for (int out : kWidths) {
    features->append(make_conv(c, {in, out}))
        .append(make_batch_norm2d(c, out))
        .append(make_relu(c));
    if (i++ % 2 == 1) features->append(make_max_pool(c));
    in = out;
  }
  return whole(c, features, make_linear(c, kFlat, options.num_classes));
}

}  // namespace halftone
