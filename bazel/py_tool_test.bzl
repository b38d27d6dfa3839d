"""py_tool_test: a Python unittest of a tool (Bazel 4's py_test would want rules_python)."""

def py_tool_test(name, tools, size = "small", **kwargs):
    """Runs NAME.py, which imports tool_case, with the tools it tests beside it.

    Args:
      name: the test, and its source file less ".py".
      tools: labels of the files under test.
      size: Bazel's test size (small: 60 s).
      **kwargs: passed to sh_test.
    """
    native.sh_test(
        name = name,
        size = size,
        srcs = ["py_test.sh"],
        args = ["$(location %s.py)" % name],
        data = [name + ".py", "tool_case.py"] + tools,
        tags = ["tools"],
        **kwargs
    )
