// state_dict and its strict inverse.
#include "kernels/elementwise.h"
#include "nn/module.h"
#include "tensor/nearest.h"

namespace halftone {
namespace {

Shape disk_shape(const Shape& shape, DiskLayout layout) {
  if (layout == DiskLayout::kAsIs) return shape;
  return {shape[0], shape[3], shape[1], shape[2]};
}

// On the CPU, wherever the value lies.
Tensor to_disk(const Tensor& value, DiskLayout layout) {
  const Context host = value.context().host();
  if (layout == DiskLayout::kAsIs) return host == value.context() ? value.clone() : value.to(host);
  Tensor result = Tensor::empty(host, disk_shape(value.shape(), layout), value.dtype());
  kernels::nhwc_to_nchw(value.to(host), result);
  return result;
}

bool is_float(DType dtype) { return dtype == DType::kFloat32 || dtype == DType::kBFloat16; }

// What is wrong with `found` as the new value of `target`; "" when nothing is.
std::string misfit(const Tensor& target, DiskLayout layout, const Tensor& found) {
  const Shape wanted = disk_shape(target.shape(), layout);
  if (target.numel() > 0 && wanted != found.shape()) {
    return found.shape().str() + " instead of " + wanted.str();
  }
  if (is_float(target.dtype()) != is_float(found.dtype())) {
    return name_of(found.dtype()) + " instead of " + name_of(target.dtype());
  }
  return "";
}

void assign(Tensor& target, DiskLayout layout, const Tensor& found) {
  const Tensor converted = found.to(target.dtype());
  if (layout == DiskLayout::kOIHW) {
    Tensor values =
        target.context().on_cpu() ? target : Tensor::empty(converted.context(), target.shape());
    kernels::nchw_to_nhwc(converted, values);
    if (!target.context().on_cpu()) target.copy_from(values);
  } else if (target.shape() == found.shape()) {
    target.copy_from(converted);
  } else {
    target = Tensor::empty(target.context(), converted.shape(), converted.dtype());
    target.copy_from(converted);
  }
}

struct Misfits {
  std::vector<std::string> missing, unexpected, wrong;
  bool any() const { return !missing.empty() || !unexpected.empty() || !wrong.empty(); }
};

[[noreturn]] void throw_misfits(const Misfits& m) {
  std::string text;
  const auto list = [&text](const char* title, const std::vector<std::string>& names) {
    if (names.empty()) return;
    text += (text.empty() ? "" : "; ") + std::to_string(names.size()) + " " + title + ": " +
            short_list(names, names.size());
  };
  list("missing", m.missing);
  list("unexpected", m.unexpected);
  list("of another shape or type", m.wrong);
  throw HALFTONE_ERROR("load_state_dict")
      .what_happened("these weights are not this model's: " + text)
      .fix("build the model with the options that it was trained with");
}

}  // namespace

void Module::check_buffer(const std::string&, const std::string&, const Tensor&) const {}

void Module::collect_state(const std::string& prefix, std::vector<StateEntry>& entries) {
  for (NamedParameter& p : parameters_) {
    entries.push_back({prefix + p.name, &p.variable->mutable_value(), p.layout, this, ""});
  }
  for (auto& [name, tensor] : buffers_) {
    entries.push_back({prefix + name, &tensor, DiskLayout::kAsIs, this, name});
  }
  for (Slot* slot : slots()) {
    if (*slot) (*slot)->collect_state(prefix + slot->name() + ".", entries);
  }
}

std::map<std::string, Tensor> Module::state_dict() {
  std::vector<StateEntry> entries;
  collect_state("", entries);
  std::map<std::string, Tensor> state;
  for (const StateEntry& e : entries) state[e.name] = to_disk(*e.value, e.layout);
  return state;
}

void Module::load_state_dict(const std::map<std::string, Tensor>& state) {
  std::vector<StateEntry> entries;
  collect_state("", entries);
  Misfits misfits;
  std::map<std::string, bool> known;
  for (const StateEntry& e : entries) {
    known[e.name] = true;
    const auto found = state.find(e.name);
    if (found == state.end()) {
      misfits.missing.push_back(e.name);
    } else if (const std::string why = misfit(*e.value, e.layout, found->second); !why.empty()) {
      misfits.wrong.push_back(e.name + " " + why);
    }
  }
  for (const auto& [name, tensor] : state) {
    if (!known.count(name)) {
      misfits.unexpected.push_back(name + did_you_mean(name, misfits.missing));
    }
  }
  if (misfits.any()) throw_misfits(misfits);
  for (const StateEntry& e : entries) {
    if (!e.own_name.empty()) e.owner->check_buffer(e.own_name, e.name, state.at(e.name));
  }
  for (const StateEntry& e : entries) assign(*e.value, e.layout, state.at(e.name));
}

}  // namespace halftone
