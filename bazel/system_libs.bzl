"""Libraries taken from the machine (Debian packages) instead of downloaded."""

_MISSING = """

  Halftone needs {name}, and its header {header} is in none of
      {dirs}
  Debian or Ubuntu:  tools/setup   (or: apt-get install {apt})
  elsewhere:         --repo_env={env}=PREFIX  (the folder that holds include/ and lib/)
  Then build again.
"""

def _impl(rctx):
    a = rctx.attr
    env = a.lib.upper() + "_HOME"
    prefix = rctx.os.environ.get(env, "")
    dirs = [prefix + "/include", prefix + "/include/" + a.lib] if prefix else a.dirs
    found = [d for d in dirs if rctx.path(d + "/" + a.header).exists]
    if not found and not a.optional:
        fail(_MISSING.format(name = a.lib, header = a.header, dirs = "\n      ".join(dirs), apt = a.apt, env = env))
    rctx.file("config.bzl", "FOUND = %s\nAPT = %r\n" % (bool(found), a.apt))
    hdrs, includes, linkopts = "[]", [], []
    if found:
        # Headers below /usr/include itself are on the compiler's own path and
        # need no declaring; any other folder is linked in and tracked.
        if found[0] != "/usr/include":
            for r in [r for r in a.roots if rctx.path(found[0] + "/" + r).exists] or [a.header.split("/")[0]]:
                rctx.symlink(found[0] + "/" + r, "include/" + r)
            hdrs, includes = "glob([\"include/**\"])", ["include"]
        linkopts = a.linkopts
        if prefix:
            linkopts = ["-L%s/lib" % prefix, "-Wl,-rpath,%s/lib" % prefix] + linkopts
    rctx.file("BUILD.bazel", """
load("@rules_cc//cc:defs.bzl", "cc_library")
cc_library(
    name = "{name}",
    hdrs = {hdrs},
    includes = {includes},
    linkopts = {linkopts},
    defines = {defines},
    visibility = ["//visibility:public"],
)
""".format(name = a.lib, hdrs = hdrs, includes = includes, linkopts = linkopts, defines = a.defines if found else []))

_LIBS = ["CATCH2", "CLI11", "EIGEN", "FMT", "JPEG", "JSON", "ONEDNN", "ONNX", "PNG", "SPDLOG", "YAML_CPP", "ZLIB"]

system_library = repository_rule(
    implementation = _impl,
    local = True,
    configure = True,
    environ = [n + "_HOME" for n in _LIBS],
    attrs = {
        "lib": attr.string(mandatory = True, doc = "the target's name; under Bzlmod a repository's own name is mangled"),
        "apt": attr.string(mandatory = True),
        "header": attr.string(mandatory = True),
        "dirs": attr.string_list(default = ["/usr/include", "/usr/local/include"]),
        "roots": attr.string_list(),
        "linkopts": attr.string_list(),
        "defines": attr.string_list(),
        "optional": attr.bool(),
    },
)

def _lib(name, **kwargs):
    system_library(name = name, lib = name, **kwargs)

def system_libs():
    """Defines one repository per system library; `@name` is also its only target."""

    # Needed: a target that depends on one of these does not build without it.
    _lib(name = "catch2", apt = "catch2", header = "catch2/catch.hpp")
    _lib(name = "cli11", apt = "libcli11-dev", header = "CLI/CLI.hpp")
    _lib(
        name = "eigen",
        apt = "libeigen3-dev",
        # Its own threads stay out: kernels split work over the one pool.
        defines = ["EIGEN_DONT_PARALLELIZE", "EIGEN_MPL2_ONLY"],
        dirs = ["/usr/include/eigen3", "/usr/local/include/eigen3"],
        header = "Eigen/Core",
        roots = ["Eigen", "unsupported"],
    )
    _lib(name = "fmt", apt = "libfmt-dev", header = "fmt/format.h", linkopts = ["-lfmt"])
    _lib(name = "jpeg", apt = "libjpeg-dev", header = "jpeglib.h", linkopts = ["-ljpeg"])
    _lib(name = "json", apt = "nlohmann-json3-dev", header = "nlohmann/json.hpp", roots = ["nlohmann"])
    _lib(
        name = "onnx",
        apt = "libonnx-dev libprotobuf-dev",
        defines = ["ONNX_ML=1", "ONNX_NAMESPACE=onnx"],
        header = "onnx/onnx_pb.h",
        linkopts = ["-lonnx", "-lonnx_proto", "-lprotobuf"],
    )
    _lib(name = "png", apt = "libpng-dev", header = "png.h", linkopts = ["-lpng"])
    _lib(
        name = "spdlog",
        apt = "libspdlog-dev",
        defines = ["SPDLOG_COMPILED_LIB", "SPDLOG_FMT_EXTERNAL"],
        header = "spdlog/spdlog.h",
        linkopts = ["-lspdlog", "-lfmt"],
    )
    _lib(name = "yaml_cpp", apt = "libyaml-cpp-dev", header = "yaml-cpp/yaml.h", linkopts = ["-lyaml-cpp"])
    _lib(name = "zlib", apt = "zlib1g-dev", header = "zlib.h", linkopts = ["-lz"])

    # Used when there: load("@onednn//:config.bzl", ONEDNN = "FOUND").
    _lib(name = "onednn", apt = "libdnnl-dev", header = "dnnl.hpp", linkopts = ["-ldnnl"], optional = True)
