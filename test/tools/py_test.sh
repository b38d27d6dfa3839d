#!/bin/sh
# Runs the Python test $1; Bazel 4's own py_test would want rules_python.
exec python3 "$@"
