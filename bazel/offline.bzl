"""Local stand-ins for the repositories Bazel 4 would otherwise download.

Even a C++-only build loads every registered toolchain, and among them
@bazel_tools//tools/jdk:all, whose BUILD file loads @rules_java and @rules_cc.
All three repositories are written here from strings, so that no third_party
tree, no /usr/share/bazel path and no extra Debian package is needed.
Debian's Bazel calls itself version "", upstream's own binaries say "x.y.z".
"""

_CC = ["cc_binary", "cc_import", "cc_library", "cc_test", "cc_toolchain", "cc_toolchain_suite"]
_JAVA = ["java_import", "java_runtime", "java_toolchain"]  # all that //tools/jdk loads

def _stub_impl(rctx):
    for path, text in rctx.attr.files.items():
        rctx.file(path, text, executable = False)

_stub = repository_rule(implementation = _stub_impl, attrs = {"files": attr.string_dict()})

def _natives(names):
    return "".join(["%s = native.%s\n" % (n, n) for n in names])

def offline_stubs():
    if native.bazel_version and not native.bazel_version.startswith("4."):
        return  # Bazel 5+: let it bring its own rules_cc / rules_java.
    _stub(name = "rules_cc", files = {
        "BUILD": "",
        "cc/BUILD": "",
        "cc/defs.bzl": _natives(_CC),
    })
    _stub(name = "rules_java", files = {
        "BUILD": "",
        "java/BUILD": "",
        "java/defs.bzl": _natives(_JAVA),
    })

    # `bazel test` looks the report generator up, `bazel coverage` runs the merger.
    _stub(name = "remote_coverage_tools", files = {
        "BUILD": """
package(default_visibility = ["//visibility:public"])
filegroup(name = "lcov_merger", srcs = ["@halftone//bazel:lcov_merger.py"])
filegroup(name = "coverage_report_generator", srcs = ["@halftone//bazel:lcov_merger.py"])
""",
    })
