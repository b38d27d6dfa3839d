// What kernels keep between calls on one Context: library primitives, packed tables.
#pragma once

#include <memory>
#include <mutex>
#include <typeindex>
#include <unordered_map>

#include "tensor/context.h"

namespace halftone::kernels {

// Held by Context::kernel_cache(); each user keeps one object of a type of its own, found by that
// type. The objects live as long as the Context. Calls that use one Context come from one thread
// at a time (as for its memory plan); only the creation here is guarded.
class KernelCache {
 public:
  // The context's object of type T, default-constructed on the first call.
  template <class T>
  static T& get(const Context& context) {
    std::lock_guard<std::mutex> lock(creation());
    std::shared_ptr<void>& held = context.kernel_cache();
    if (!held) held = std::make_shared<KernelCache>();
    std::shared_ptr<void>& entry = static_cast<KernelCache*>(held.get())->entries_[typeid(T)];
    if (!entry) entry = std::make_shared<T>();
    return *static_cast<T*>(entry.get());
  }

 private:
  static std::mutex& creation() {
    static std::mutex mutex;
    return mutex;
  }

  std::unordered_map<std::type_index, std::shared_ptr<void>> entries_;
};

}  // namespace halftone::kernels
