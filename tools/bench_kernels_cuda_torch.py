"""PyTorch's half of bench_kernels_cuda: its operators for the same operations, timed the same way.

usage: bench_kernels_cuda_torch.py LOG_SIZE...

Prints lines `op dtype layout elements microseconds`; an operator that fails is named instead.
"""
import statistics
import sys

import torch

REPEATS = 30
LAYOUTS = {"tensor": None, "nhwc256": (256, 1), "nhwc010": (10, 1), "oihw512": (512, 0)}


def time_of(call, sets):
    """Microseconds of call(buffers): the median over turns through all sets."""
    for _ in range(2):
        for buffers in sets:
            call(*buffers)
    torch.cuda.synchronize()
    times = []
    for _ in range(REPEATS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for buffers in sets:
            call(*buffers)
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3 / len(sets))
    return statistics.median(times)


def shaped(x, layout):
    """(tensor seen with channels, axis)."""
    if LAYOUTS[layout] is None:
        return x, None
    channels, axis = LAYOUTS[layout]
    whole = x[: x.numel() // channels * channels]
    return whole.view((-1, channels) if axis == 1 else (channels, -1)), axis


def parameters(layout, axis):
    count = 1 if axis is None else LAYOUTS[layout][0]
    scale = torch.full((count,), 0.05, device="cuda")
    return scale, torch.zeros(count, device="cuda"), torch.zeros(count, device="cuda",
                                                                 dtype=torch.int32)


def quantize_calls(layout, axis):
    """op -> call(x, dy, mask)."""
    scale, zero, zero_int = parameters(layout, axis)
    aten = torch.ops.aten
    if axis is None:
        return {
            "fake_quantize": lambda x, dy, m: torch.fake_quantize_per_tensor_affine(
                x, 0.05, 0, 0, 255),
            "fake_quantize_backward": lambda x, dy, m:
                aten.fake_quantize_per_tensor_affine_cachemask_backward(dy, m),
            "lsq_forward": lambda x, dy, m: torch._fake_quantize_learnable_per_tensor_affine(
                x, scale, zero, -8, 7, 0.1),
            "lsq_backward": lambda x, dy, m:
                aten._fake_quantize_learnable_per_tensor_affine_backward(
                    dy, x, scale, zero, -8, 7, 0.1),
            "quantize_uint8": lambda x, dy, m: torch.quantize_per_tensor(x, 0.05, 0, torch.quint8),
            "observe_ema": lambda x, dy, m: torch.aminmax(x),
        }
    return {
        "fake_quantize": lambda x, dy, m: torch.fake_quantize_per_channel_affine(
            x, scale, zero_int, axis, 0, 255),
        "fake_quantize_backward": lambda x, dy, m:
            aten.fake_quantize_per_channel_affine_cachemask_backward(dy, m),
        "lsq_forward": lambda x, dy, m: torch._fake_quantize_learnable_per_channel_affine(
            x, scale, zero, axis, -8, 7, 0.1),
        "lsq_backward": lambda x, dy, m:
            aten._fake_quantize_learnable_per_channel_affine_backward(
                dy, x, scale, zero, axis, -8, 7, 0.1),
        "observe_ema": lambda x, dy, m: torch.aminmax(x, dim=1 - axis),
    }


def report(op, dtype, layout, n, call, sets):
    try:
        us = time_of(call, sets)
        print(op, str(dtype).split(".")[1], layout, n, "%.3f" % us, flush=True)
    except Exception as e:  # an operator that this PyTorch does not have
        print("%s %s %s: %s" % (op, dtype, layout, str(e).splitlines()[0][:120]), flush=True)


def run_quantize(n, dtype, count):
    for layout in LAYOUTS:
        sets = []
        for _ in range(count):
            x, axis = shaped(torch.randn(n, device="cuda").to(dtype), layout)
            sets.append((x, torch.randn_like(x), torch.rand(x.shape, device="cuda") > 0.1))
        for op, call in quantize_calls(layout, axis).items():
            report(op, dtype, layout, n, call, sets)


def run_adam(n):
    for op, make in (("adam", lambda p: torch.optim.Adam([p], fused=True)),
                     ("sgd_momentum", lambda p: torch.optim.SGD([p], momentum=0.9, lr=0.1,
                                                                fused=True))):
        p = torch.randn(n, device="cuda", requires_grad=True)
        p.grad = torch.randn(n, device="cuda")
        optimizer = make(p)
        report(op, torch.float32, "tensor", n, optimizer.step, [()] * 2)


def main(sizes):
    print("PyTorch %s on %s" % (torch.__version__, torch.cuda.get_device_name()), flush=True)
    for size in sizes:
        n = 1 << size
        count = max(2, min(32, (1 << 27) // n))
        with torch.no_grad():
            for dtype in (torch.float32, torch.bfloat16):
                x = [(torch.randn(n, device="cuda").to(dtype),) for _ in range(count)]
                report("sign", dtype, "tensor", n, torch.sign, x)
                report("copy", dtype, "tensor", n, torch.clone, x)
                del x
                run_quantize(n, dtype, count)
            run_adam(n)


if __name__ == "__main__":
    main([int(a) for a in sys.argv[1:]])
