#!/usr/bin/env python3
"""Writes import_numbers.safetensors: logits of PyTorch's LeNet-5 and ResNet-20, whose weights a formula makes.

usage: make_import_numbers.py        needs torch (written with 2.15) and nothing else

import_run_test.cc makes the same weights and images, imports them, and compares. PyTorch computes in float64.
"""
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "nn"))
from make_torch_numbers import BasicBlock, save  # noqa: E402


def numbers(count, k):
    """From -1 to 1, the k-th sequence; formula of import_run_test.cc."""
    return (torch.arange(count, dtype=torch.int64) * 7919 + k * 104729).remainder(2003).double() / 1001.5 - 1.0


def fill(model):
    """Weights within sqrt(6 / inputs), gammas of both signs; rounded to float32."""
    for k, (name, t) in enumerate(sorted(model.state_dict().items())):
        v = numbers(t.numel(), k).reshape(t.shape)
        if name.endswith("num_batches_tracked"):
            t.fill_(7)
        elif name.endswith("running_var"):
            t.copy_((1.0 + 0.5 * v).float())
        elif t.dim() >= 2:
            t.copy_((v * (6.0 / (t.numel() // t.shape[0])) ** 0.5).float())
        else:
            t.copy_((v * (1.0 if name.endswith("weight") else 0.1)).float())
    return model.eval()


def images(channels, size, count=2):
    n = count * channels * size * size
    return (torch.arange(n) * 31 + 7).remainder(251).float().div(250).double().reshape(count, channels, size, size)


class LeNet5(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16)
        self.fc1, self.bn3 = nn.Linear(400, 120), nn.BatchNorm1d(120)
        self.fc2, self.bn4 = nn.Linear(120, 84), nn.BatchNorm1d(84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2).flatten(1)
        return self.fc3(F.relu(self.bn4(self.fc2(F.relu(self.bn3(self.fc1(x)))))))


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        for i, (cin, cout) in enumerate([(16, 16), (16, 32), (32, 64)], 1):
            first = BasicBlock(cin, cout, 1 if i == 1 else 2)
            setattr(self, "layer%d" % i, nn.Sequential(first, BasicBlock(cout, cout, 1), BasicBlock(cout, cout, 1)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


with torch.no_grad():
    save(os.path.join(HERE, "import_numbers.safetensors"),
         {"lenet5": fill(LeNet5())(images(1, 28)), "resnet20": fill(ResNet20())(images(3, 32))})
