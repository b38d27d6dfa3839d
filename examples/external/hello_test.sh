#!/bin/sh
# Runs the program and looks at what it says.
./hello | grep -q '^Halftone .*: 6 values' && echo 'halftone-tests: 1 passed, 0 failed, 0 skipped'
