#!/usr/bin/env python3
"""PyTorch's operators for the rows of //tools:bench_kernels that have a counterpart.

usage: bench_kernels_torch.py PIXELS THREADS ROUNDS

A tensor has 64 * PIXELS * 64 values. Prints one JSON object: microseconds (medians) by "operation grids", and torch's version.
Grids: tensor; nhwc: per channel of a channels_last activation (axis 1); ohwi: per row of a weight (axis 0). Forwards run as in
training, with a graph; backwards are the graph's alone. lsq_backward is the backward of the learnable fake_quantize.
"""
import json
import statistics
import sys
import time

import torch

CHANNELS, STEP = 64, 0.03
QMIN, QMAX = -64, 63


def microseconds(run, rounds):
    times = []
    for i in range(rounds + 2):
        start = time.perf_counter()
        run()
        times.append(1e6 * (time.perf_counter() - start))
    return statistics.median(times[2:])


def backward_microseconds(forward, leaves, up, rounds):
    times = []
    for i in range(rounds + 2):
        y = forward()
        for leaf in leaves:
            leaf.grad = None
        start = time.perf_counter()
        y.backward(up)
        times.append(1e6 * (time.perf_counter() - start))
    return statistics.median(times[2:])


def fake_quantize_forms(x, axis):
    """(forward of fake_quantize, forward of the learnable one, leaves of the second)."""
    if axis is None:
        scale, zero = torch.tensor([STEP], requires_grad=True), torch.tensor([0.0], requires_grad=True)
        return (lambda: torch.fake_quantize_per_tensor_affine(x, STEP, 0, QMIN, QMAX),
                lambda: torch._fake_quantize_learnable_per_tensor_affine(x, scale, zero, QMIN, QMAX, 1.0),
                [x, scale, zero])
    scales = STEP + 1e-4 * torch.arange(CHANNELS)
    zeros = torch.zeros(CHANNELS, dtype=torch.int32)
    scale = scales.clone().requires_grad_()
    zero = torch.zeros(CHANNELS, requires_grad=True)
    return (lambda: torch.fake_quantize_per_channel_affine(x, scales, zeros, axis, QMIN, QMAX),
            lambda: torch._fake_quantize_learnable_per_channel_affine(x, scale, zero, axis, QMIN, QMAX, 1.0),
            [x, scale, zero])


def main():
    pixels, threads, rounds = (int(a) for a in sys.argv[1:4])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    weight = torch.randn(CHANNELS, pixels * CHANNELS)
    activation = torch.randn(CHANNELS, CHANNELS, pixels, 1).contiguous(memory_format=torch.channels_last)
    target = torch.empty_like(weight)
    out = {"version": torch.__version__}
    out["copy "] = microseconds(lambda: target.copy_(weight), rounds)
    for layout, x, axis in (("tensor", weight, None), ("nhwc", activation, 1), ("ohwi", weight, 0)):
        up = torch.rand_like(x) - 0.5
        x = x.clone().requires_grad_()
        plain, learnable, leaves = fake_quantize_forms(x, axis)
        out["fake_quantize " + layout] = microseconds(plain, rounds)
        out["fake_quantize_backward " + layout] = backward_microseconds(plain, [x], up, rounds)
        out["lsq_backward " + layout] = backward_microseconds(learnable, leaves, up, rounds)
        out["lsq_plus_backward " + layout] = out["lsq_backward " + layout]  # it computes both
        dims = [d for d in range(x.dim()) if d != axis]
        still = x.detach()
        out["observe_ranges " + layout] = microseconds(
            (lambda: torch.aminmax(still)) if axis is None else lambda: (still.amin(dims), still.amax(dims)), rounds)
    out["histogram tensor"] = microseconds(lambda: torch.histc(weight, 2048, -6, 6), rounds)
    out["binarize "] = microseconds(lambda: torch.sign(weight), rounds)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
