#!/usr/bin/env python3
"""Writes torch_numbers/*.safetensors: what PyTorch computes for the modules, losses, optimizers and schedules.

usage: make_torch_numbers.py [DIR]        needs torch (written with 2.15) and nothing else

PyTorch computes in float64 from float32 inputs; results are stored as float32, so that they are the
exact values but for their own rounding. All layouts are PyTorch's (NCHW, OIHW). Keys are
CASE/x0, CASE/x1 (inputs), CASE/state/NAME (before), CASE/y, CASE/dy (upstream gradient), CASE/dx0,
CASE/grad/NAME, CASE/after/NAME (buffers after one training forward), CASE/y_eval (then, in evaluation).
"""
import json
import os
import struct
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.manual_seed(20240607)
torch.set_num_threads(1)


def save(path, tensors):
    """The safetensors format: header length, JSON header, little-endian values."""
    header, blobs, offset = {}, [], 0
    for name, t in sorted(tensors.items()):
        t = t.detach().contiguous()
        kind, t = ("I64", t) if t.dtype == torch.int64 else ("F32", t.float())
        blob = bytes(t.numpy().tobytes())
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def values(*shape, low=-1.0, high=1.0):
    """Uniform numbers that float32 holds exactly."""
    return (low + (high - low) * torch.rand(*shape)).float().double()


def randomize(module):
    """Parameters and running statistics away from their defaults; some negative scales."""
    for name, p in module.named_parameters():
        p.data = values(*p.shape)
    for name, b in module.named_buffers():
        if name.endswith("running_mean"):
            b.copy_(values(*b.shape))
        elif name.endswith("running_var"):
            b.copy_(values(*b.shape, low=0.5, high=2.0))
    return module


class Add(nn.Module):
    def forward(self, a, b):
        return a + b


class Concat(nn.Module):
    def forward(self, *xs):
        return torch.cat(xs, 1)


class SubsamplePad(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.before, self.after = before, after

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        pad = cout - cin
        self.shortcut = SubsamplePad(pad // 2, pad - pad // 2) if stride != 1 else nn.Identity()

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


# No bias stands before a batch norm here: its gradient is 0 but for rounding, so there is nothing to
# compare, and Adam would blow it up.
IMAGE, SMALL, ROWS = (2, 4, 6, 7), (3, 4, 5, 5), (5, 6)
LAYERS = {
    "conv": (lambda: nn.Conv2d(4, 3, 3), [IMAGE]),
    "conv_stride_pad": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1), [IMAGE]),
    "conv_dilation": (lambda: nn.Conv2d(4, 2, 3, padding=2, dilation=2), [IMAGE]),
    "conv_groups": (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=False), [IMAGE]),
    "conv_depthwise": (lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4), [IMAGE]),
    "conv_1x1": (lambda: nn.Conv2d(4, 5, 1), [IMAGE]),
    "conv_3x5": (lambda: nn.Conv2d(4, 2, (3, 5), padding=1), [IMAGE]),
    "linear": (lambda: nn.Linear(6, 4), [ROWS]),
    "linear_no_bias": (lambda: nn.Linear(6, 4, bias=False), [ROWS]),
    "batch_norm2d": (lambda: nn.BatchNorm2d(4), [SMALL]),
    "batch_norm2d_eps": (lambda: nn.BatchNorm2d(4, eps=1e-2, momentum=0.3), [SMALL]),
    "batch_norm2d_plain": (lambda: nn.BatchNorm2d(4, affine=False), [SMALL]),
    "batch_norm2d_eval": (lambda: nn.BatchNorm2d(4).eval(), [SMALL]),
    "batch_norm1d": (lambda: nn.BatchNorm1d(6), [ROWS]),
    "relu": (nn.ReLU, [SMALL]),
    "relu6": (nn.ReLU6, [SMALL]),
    "hardtanh": (nn.Hardtanh, [SMALL]),
    "hardtanh_range": (lambda: nn.Hardtanh(-2.0, 0.5), [SMALL]),
    "leaky_relu": (nn.LeakyReLU, [SMALL]),
    "leaky_relu_slope": (lambda: nn.LeakyReLU(0.2), [SMALL]),
    "sigmoid": (nn.Sigmoid, [SMALL]),
    "softmax": (lambda: nn.Softmax(1), [ROWS]),
    "log_softmax": (lambda: nn.LogSoftmax(1), [ROWS]),
    "max_pool": (lambda: nn.MaxPool2d(2), [IMAGE]),
    "max_pool_overlap": (lambda: nn.MaxPool2d(3, 2, 1), [IMAGE]),
    "max_pool_ceil": (lambda: nn.MaxPool2d(2, ceil_mode=True), [IMAGE]),
    "avg_pool": (lambda: nn.AvgPool2d(2), [IMAGE]),
    "avg_pool_overlap": (lambda: nn.AvgPool2d(3, 2, 1), [IMAGE]),
    "avg_pool_no_pad": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), [IMAGE]),
    "avg_pool_ceil": (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True), [IMAGE]),
    "adaptive_avg_pool": (lambda: nn.AdaptiveAvgPool2d(1), [IMAGE]),
    "adaptive_avg_pool_3x2": (lambda: nn.AdaptiveAvgPool2d((3, 2)), [(2, 4, 7, 5)]),
    "flatten": (nn.Flatten, [SMALL]),
    "identity": (nn.Identity, [SMALL]),
    "add": (Add, [SMALL, SMALL]),
    "concat": (Concat, [SMALL, (3, 2, 5, 5), (3, 1, 5, 5)]),
    "subsample_pad": (lambda: SubsamplePad(1, 2), [SMALL]),
    "sequential": (lambda: nn.Sequential(nn.Conv2d(4, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU()), [SMALL]),
    "basic_block": (lambda: BasicBlock(4, 8, 2), [(3, 4, 6, 6)]),
}


def layers():
    out = {}
    for name, (build, shapes) in LAYERS.items():
        module = randomize(build())
        xs = [values(*s, low=-3.0, high=8.0 if "relu6" in name else 3.0).requires_grad_() for s in shapes]
        put = lambda key, t: out.__setitem__(name + "/" + key, t.detach().clone())
        for key, t in module.state_dict().items():
            put("state/" + key, t)
        y = module(*xs)
        dy = values(*y.shape)
        y.backward(dy)
        put("y", y)
        put("dy", dy)
        for i, x in enumerate(xs):
            put("x%d" % i, x)
            put("dx%d" % i, x.grad)
        for key, p in module.named_parameters():
            put("grad/" + key, p.grad)
        for key, b in module.named_buffers():
            put("after/" + key, b)
        put("y_eval", module.eval()(*xs))
    return out


def losses():
    out = {}

    def case(name, compute, x, target):
        x = x.requires_grad_()
        value = compute(x, target)
        value.backward()
        out.update({name + "/x": x, name + "/target": target, name + "/value": value, name + "/dx": x.grad})

    def squared_hinge(x, labels):
        t = 2.0 * F.one_hot(labels, x.shape[1]) - 1.0
        return F.relu(1.0 - t * x).square().mean()

    labels = torch.tensor([3, 0, 2, 2, 1, 4, 0])
    logits = lambda: values(7, 5, low=-4.0, high=4.0)
    case("cross_entropy", nn.CrossEntropyLoss(), logits(), labels)
    case("cross_entropy_smooth", nn.CrossEntropyLoss(label_smoothing=0.1), logits(), labels)
    case("cross_entropy_large", nn.CrossEntropyLoss(), 30.0 * logits(), labels)
    case("nll", nn.NLLLoss(), F.log_softmax(logits(), 1).float().double(), labels)
    case("mse", nn.MSELoss(), logits(), values(7, 5))
    case("squared_hinge", squared_hinge, logits(), labels)
    return out


OPTIMIZERS = {
    "sgd": (torch.optim.SGD, dict(lr=0.1)),
    "sgd_decay": (torch.optim.SGD, dict(lr=0.1, weight_decay=0.05)),
    "sgd_momentum": (torch.optim.SGD, dict(lr=0.1, momentum=0.9, weight_decay=0.01)),
    "sgd_dampening": (torch.optim.SGD, dict(lr=0.1, momentum=0.8, dampening=0.3)),
    "sgd_nesterov": (torch.optim.SGD, dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)),
    "adam": (torch.optim.Adam, dict(lr=0.01)),
    "adam_decay": (torch.optim.Adam, dict(lr=0.01, weight_decay=0.1)),
    "adam_betas": (torch.optim.Adam, dict(lr=0.02, betas=(0.8, 0.95), eps=1e-4)),
    "adamw": (torch.optim.AdamW, dict(lr=0.01)),
    "adamw_decay": (torch.optim.AdamW, dict(lr=0.01, weight_decay=0.2)),
}


def run_optimizer(optimizer, params, out, name):
    for step in range(10):
        for i, p in enumerate(params):
            p.grad = values(*p.shape)
            out["%s/grad%d/%d" % (name, step, i)] = p.grad.clone()
        optimizer.step()
        for i, p in enumerate(params):
            out["%s/p%d/%d" % (name, step, i)] = p.detach().clone()


def optimizers():
    out = {}
    for name, (kind, options) in OPTIMIZERS.items():
        params = [values(3, 4).requires_grad_(), values(3).requires_grad_()]
        for i, p in enumerate(params):
            out["%s/start/%d" % (name, i)] = p.detach().clone()
        run_optimizer(kind(params, **options), params, out, name)
    # Parameter 1 in a group of its own.
    params = [values(3, 4).requires_grad_(), values(3).requires_grad_()]
    for i, p in enumerate(params):
        out["groups/start/%d" % i] = p.detach().clone()
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.03, "weight_decay": 0.0}]
    run_optimizer(torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.1), params, out, "groups")
    return out


def schedules():
    S = torch.optim.lr_scheduler
    warm = lambda make, start: lambda o: S.SequentialLR(
        o, [S.LinearLR(o, start_factor=start, total_iters=5), make(o)], [5])
    cases = {
        "constant": lambda o: S.LambdaLR(o, lambda t: 1.0),
        "step": lambda o: S.StepLR(o, 7, 0.5),
        "multi_step": lambda o: S.MultiStepLR(o, [3, 11, 12], 0.2),
        "exponential": lambda o: S.ExponentialLR(o, 0.93),
        "cosine": lambda o: S.CosineAnnealingLR(o, 24),
        "cosine_min": lambda o: S.CosineAnnealingLR(o, 24, eta_min=0.02),
        "warmup_constant": warm(lambda o: S.LambdaLR(o, lambda t: 1.0), 1.0 / 3.0),
        "warmup_cosine": warm(lambda o: S.CosineAnnealingLR(o, 19), 0.1),
        "warmup_step": warm(lambda o: S.StepLR(o, 6, 0.5), 0.1),
    }
    out = {}
    for name, make in cases.items():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
        schedule, rates = make(optimizer), []
        for _ in range(24):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        out[name] = torch.tensor(rates)
    return out


def init_numbers():
    """Bounds (uniform) and deviations (normal) for a (16, 8, 3, 5) convolution and a (24, 40) Linear."""
    out = {}
    for name, shape in {"conv": (16, 8, 3, 5), "linear": (24, 40)}.items():
        fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(torch.empty(*shape))
        relu, default = nn.init.calculate_gain("leaky_relu", 0), nn.init.calculate_gain("leaky_relu", 5**0.5)
        out[name] = torch.tensor([
            default * (3.0 / fan_in)**0.5, relu * (3.0 / fan_in)**0.5, relu / fan_in**0.5,
            (6.0 / (fan_in + fan_out))**0.5, (2.0 / (fan_in + fan_out))**0.5
        ])
    return out


def train(model, optimizer, shape, out, name):
    """Five steps on fresh batches of eight; the loss of each, and the state at the end."""
    for key, t in model.state_dict().items():
        out["%s/start/%s" % (name, key)] = t.clone()
    for step in range(5):
        x, labels = values(8, *shape), torch.randint(0, 3, (8,))
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        out.update({"%s/x%d" % (name, step): x, "%s/labels%d" % (name, step): labels,
                    "%s/loss%d" % (name, step): loss.detach()})
    for key, t in model.state_dict().items():
        out["%s/end/%s" % (name, key)] = t.clone()


def training():
    out = {}
    cnn = lambda: randomize(nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(36, 3)))
    model = cnn()
    train(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3), (2, 6, 6), out, "cnn_sgd")
    model = cnn()
    train(model, torch.optim.Adam(model.parameters(), lr=0.01), (2, 6, 6), out, "cnn_adam")
    model = nn.Sequential(BasicBlock(4, 8, 2), BasicBlock(8, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    train(randomize(model), torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), (4, 6, 6), out, "resnet")
    return out


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_numbers")
    for write in (layers, losses, optimizers, schedules, init_numbers, training):
        save(os.path.join(folder, write.__name__ + ".safetensors"), write())
