#!/usr/bin/env python3
"""One network's training step in PyTorch: the reference of //tools:bench_train.

usage: bench_train_torch.py NETWORK BATCH THREADS STEPS FORM QUANTIZER [DEVICE]

NETWORK is lenet5, resnet20 or bnn_vgg, built as bench_train builds it: LeNet-5 without batch norm, ResNet-20 with option A,
the BNN VGG as conv - batch norm - Hardtanh - pool. FORM is eager, or words with + between them, one form per process, so that the
peak is its own: channels_last; compile (torch.compile); and on a GPU bf16 (autocast) and graphs: the whole step as one CUDA graph, or
with compile torch.compile's own ("reduce-overhead"). DEVICE is cpu or as in "cuda:0". On a GPU the time is that of blocks of steps, with
the device idle at the end of each, and the peak is what PyTorch allocated there. QUANTIZER is float or one of bench_train_torch_quantizers. Every step is forward,
cross-entropy, backward and fused Adam. Prints one JSON object: median milliseconds and peak RSS, or the error that the form
ended in.
"""
import json
import resource
import statistics
import sys
import time

import torch
from torch import nn
import torch.nn.functional as F

import bench_train_torch_quantizers as quantizers


def lenet5():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)), (1, 28, 28)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.pad = (outputs - inputs) // 2

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.pad:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(out + x)


def resnet20():
    layers = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    inputs = 16
    for outputs in (16, 32, 64):
        for i in range(3):
            layers.append(Block(inputs, outputs, 2 if i == 0 and outputs > 16 else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)), (3, 32, 32)


def bnn_vgg():
    layers, inputs = [], 3
    for outputs, pool in ((128, False), (128, True), (256, False), (256, True), (512, False), (512, True)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.Hardtanh()]
        layers += [nn.MaxPool2d(2)] if pool else []
        inputs = outputs
    layers.append(nn.Flatten())
    for inputs, outputs in ((8192, 1024), (1024, 1024)):
        layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.Hardtanh()]
    return nn.Sequential(*layers, nn.Linear(1024, 10, bias=False), nn.BatchNorm1d(10)), (3, 32, 32)


def graphed(step):
    """STEP as one CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def timed(step, steps, cuda):
    """Seconds per step: of every step, on a GPU of five blocks of them."""
    block = max(1, steps // 5) if cuda else 1
    times = []
    for _ in range(max(1, steps // block)):
        start = time.perf_counter()
        for _ in range(block):
            step()
        if cuda:
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / block)
    return times


def make_step(network, batch, words, quantizer, device):
    model, shape = {"lenet5": lenet5, "resnet20": resnet20, "bnn_vgg": bnn_vgg}[network]()
    x, labels = torch.randn(batch, *shape), torch.randint(0, 10, (batch,))
    after_step = quantizers.quantize(model, quantizer) if quantizer != "float" else lambda: None
    model, x, labels = model.to(device), x.to(device), labels.to(device)
    if "channels_last" in words:
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    cuda, graphs = device != "cpu", "graphs" in words
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True, capturable=cuda and graphs)
    run = model
    if "compile" in words:
        run = torch.compile(model, mode="reduce-overhead") if graphs else torch.compile(model)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled="bf16" in words):
            loss = F.cross_entropy(run(x), labels)
        loss.backward()
        optimizer.step()
        after_step()

    return graphed(step) if graphs and "compile" not in words else step


def measure(network, batch, steps, form, quantizer, device):
    torch.manual_seed(0)
    words, cuda = form.split("+"), device != "cpu"
    unknown = set(words) - {"eager", "channels_last", "compile"} - ({"bf16", "graphs"} if cuda else set())
    if unknown:
        raise ValueError("no such form on %s: %s" % (device, ", ".join(sorted(unknown))))
    step = make_step(network, batch, words, quantizer, device)
    for _ in range(3 if not cuda else 8):
        step()
    if cuda:
        torch.cuda.synchronize()
    times = timed(step, steps, cuda)
    return 1e3 * statistics.median(times), 1e3 * min(times)


def main():
    network, batch, threads, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(threads)
    form, quantizer = sys.argv[5], sys.argv[6]
    device = sys.argv[7] if len(sys.argv) > 7 else "cpu"
    try:
        median, best = measure(network, batch, steps, form, quantizer, device)
    except Exception as error:  # torch.compile needs a C++ compiler, for one
        text = (str(error).splitlines() or [""])[0][:200]
        print(json.dumps({"form": form, "error": "%s: %s" % (type(error).__name__, text)}))
        return
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device != "cpu":
        peak = torch.cuda.max_memory_allocated()
    print(json.dumps({"form": form, "ms": median, "best_ms": best, "peak_bytes": peak, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
