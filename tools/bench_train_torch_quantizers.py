"""PyTorch's float simulation of the quantizers of //tools:bench_train: its own fake_quantize operations where it has them.

On a GPU the operations want float32, under autocast too, and the learnable one reads its scale on the host, which no CUDA graph can
hold: there lsq4 is the same arithmetic as an autograd function. Scales of qat8 and naive8 come from the smallest and largest value of every step; lsq4 learns them; dorefa_w1a2g4 leaves the
first and the last layer alone, and bnn the first input.
"""
import torch
from torch import nn
import torch.nn.functional as F


def per_channel_int8(w):
    scale = (w.detach().abs().flatten(1).amax(1) / 127).clamp_min(1e-8)
    return torch.fake_quantize_per_channel_affine(w, scale, torch.zeros_like(scale, dtype=torch.int32), 0, -128, 127)


def per_tensor_int8(w):
    scale = (w.detach().abs().amax() / 127).clamp_min(1e-8)
    return torch.fake_quantize_per_tensor_affine(w, scale, torch.zeros((), dtype=torch.int32, device=w.device), -128, 127)


def per_tensor_uint8(x):
    x = x.float()
    low, high = torch.aminmax(x.detach())
    low, high = low.clamp_max(0), high.clamp_min(0)
    scale = ((high - low) / 255).clamp_min(1e-8)
    return torch.fake_quantize_per_tensor_affine(x, scale, (-low / scale).round().to(torch.int32), 0, 255)


class LearnedStepFunction(torch.autograd.Function):
    """What torch._fake_quantize_learnable_per_tensor_affine computes with zero point 0."""

    @staticmethod
    def forward(ctx, x, scale, low, high, factor):
        ctx.save_for_backward(x, scale)
        ctx.range = low, high, factor
        return (x / scale).round().clamp(low, high) * scale

    @staticmethod
    def backward(ctx, dy):
        x, scale = ctx.saved_tensors
        low, high, factor = ctx.range
        v = x / scale
        code = v.round()
        inside = (code >= low) & (code <= high)
        slope = torch.where(inside, code - v, code.clamp(low, high))
        return dy * inside, (dy * slope).sum().reshape(1) * factor, None, None, None


class LearnedStep(nn.Module):
    """LSQ, 4 bits, symmetric."""

    def __init__(self, first_scale, low, high):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([first_scale]))
        self.register_buffer("zero_point", torch.zeros(1))
        self.low, self.high = low, high

    def forward(self, x):
        factor = (x.numel() * self.high) ** -0.5
        if x.is_cuda:
            return LearnedStepFunction.apply(x.float(), self.scale, self.low, self.high, factor)
        return torch._fake_quantize_learnable_per_tensor_affine(x, self.scale, self.zero_point, self.low, self.high, factor)


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.sign(x)

    @staticmethod
    def backward(ctx, dy):
        x, = ctx.saved_tensors
        return dy * (x.abs() <= 1)


class ScaledSign(torch.autograd.Function):
    """DoReFa, 1-bit weights, equation 7."""

    @staticmethod
    def forward(ctx, w):
        return torch.sign(w) * w.abs().mean()

    @staticmethod
    def backward(ctx, dy):
        return dy


class TwoBits(torch.autograd.Function):
    """DoReFa, 2-bit activations, equation 11."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x.clamp(0, 1) * 3).round() / 3

    @staticmethod
    def backward(ctx, dy):
        x, = ctx.saved_tensors
        return dy * ((x >= 0) & (x <= 1))


class FourBitGradient(torch.autograd.Function):
    """DoReFa, 4-bit gradients with noise, equation 12; one largest magnitude per sample."""

    @staticmethod
    def forward(ctx, y):
        return y.view_as(y)

    @staticmethod
    def backward(ctx, dy):
        largest = 2 * dy.abs().amax(tuple(range(1, dy.dim())), keepdim=True).clamp_min(1e-38)
        noise = torch.rand_like(dy) - 0.5
        return (((dy / largest + 0.5) * 15 + noise).round().clamp(0, 15) / 15 - 0.5) * largest


class QuantizedConv2d(nn.Conv2d):
    def forward(self, x):
        y = F.conv2d(self.quantize_input(x), self.quantize_weight(self.weight), self.bias, self.stride, self.padding)
        return self.quantize_gradient(y)


class QuantizedLinear(nn.Linear):
    def forward(self, x):
        return self.quantize_gradient(F.linear(self.quantize_input(x), self.quantize_weight(self.weight), self.bias))


def learned_input(first, signed):
    # 0.25: about 2 E|x| / sqrt(15) of x ~ N(0, 1), as the paper starts
    return LearnedStep(0.25, -8, 7) if first or signed else LearnedStep(0.25, 0, 15)


def learned_weight(w):
    return LearnedStep(float(2 * w.detach().abs().mean() / 7 ** 0.5), -8, 7)


def quantize(model, quantizer):
    """Quantizes the layers in place; returns what has to follow every optimizer step."""
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    signed = any(isinstance(m, nn.Hardtanh) for m in model.modules())
    same = nn.Identity()
    for layer in layers:
        first, last = layer is layers[0], layer is layers[-1]
        weight, x, gradient = {
            "qat8": lambda: (per_channel_int8, per_tensor_uint8, same),
            "lsq4": lambda: (learned_weight(layer.weight), learned_input(first, signed), same),
            "dorefa_w1a2g4": lambda: (same,) * 3 if first or last else (ScaledSign.apply, TwoBits.apply, FourBitGradient.apply),
            "bnn": lambda: (Sign.apply, same if first else Sign.apply, same),
            "naive8": lambda: (per_tensor_int8, same, same),
        }[quantizer]()
        layer.__class__ = QuantizedConv2d if isinstance(layer, nn.Conv2d) else QuantizedLinear
        layer.quantize_weight, layer.quantize_input, layer.quantize_gradient = weight, x, gradient

    @torch.no_grad()
    def clip_weights():
        for layer in layers:
            layer.weight.clamp_(-1, 1)

    return clip_weights if quantizer == "bnn" else lambda: None
