"""Everything a WORKSPACE needs to build Halftone: `halftone_dependencies()`.

Call it first: the stand-ins for rules_cc and rules_java must be defined before
Bazel's built-in WORKSPACE suffix would fetch the real ones over the network.
"""

load("//bazel:cuda_configure.bzl", "cuda_configure")
load("//bazel:offline.bzl", "offline_stubs")
load("//bazel:system_libs.bzl", "system_libs")

def halftone_dependencies():
    """Defines the system libraries, @local_cuda and Bazel's offline stand-ins."""
    offline_stubs()
    system_libs()
    cuda_configure(name = "local_cuda")
