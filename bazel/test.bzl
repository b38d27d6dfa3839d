"""halftone_test: a Catch2 test with Halftone's own main."""

load("@rules_cc//cc:defs.bzl", "cc_test")

def halftone_test(name, srcs, deps = [], size = "small", tags = [], data = [], **kwargs):
    """Defines a test; @catch2 and the main (with HALFTONE_SKIP) are added.

    Args:
      name: the target's name.
      srcs: source files with TEST_CASEs.
      deps: what is under test.
      size: Bazel's test size (small: 60 s).
      tags: "gpu" for tests that want a GPU, "long" for slow ones.
      data: files read at run time.
      **kwargs: passed to cc_test.
    """
    cc_test(
        name = name,
        srcs = srcs,
        data = data,
        size = size,
        tags = tags,
        deps = deps + [d for d in ["//test:catch_main", "@catch2"] if d not in deps],
        **kwargs
    )
