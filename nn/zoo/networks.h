// The builders behind zoo.h. They take options that make_model has checked.
#pragma once

#include "nn/zoo/zoo.h"

namespace halftone {

ModulePtr make_lenet5(const Context& context, const ModelOptions& options);
ModulePtr make_nni_mnist(const Context& context, const ModelOptions& options);
ModulePtr make_bnn_vgg(const Context& context, const ModelOptions& options);
ModulePtr make_vgg_small(const Context& context, const ModelOptions& options);
ModulePtr make_resnet20(const Context& context, const ModelOptions& options);
ModulePtr make_mobilenet_v2(const Context& context, const ModelOptions& options);

}  // namespace halftone
