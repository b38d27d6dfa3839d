"""`halftone train` from weights that PyTorch saved: its names and layouts, its container, and its numbers."""
import json
import math
import os
import random
import struct

import tool_case

CONFIG = """
name: from-pytorch
threads: 1
epochs: 1
batch_size: 8
data: {name: mnist, dir: DIR}
model: {name: lenet5, weights: WEIGHTS}
optimizer: {name: SGD, lr: 0.0}
"""
QUANTIZER = """
quantizer:
  name: NAME
  config_list:
    - {quant_types: [weight, input], quant_bits: 8, op_types: [Conv2d, Linear]MORE}
"""
CONVOLUTIONS = [("1", 1, 6, 5), ("2", 6, 16, 5)]
LINEARS = [("1", "3", 400, 120), ("2", "4", 120, 84), ("3", None, 84, 10)]


def save(path, tensors):
    """A safetensors file as PyTorch's library writes it. TENSORS: name -> (shape, floats), or (shape, ints) for int64."""
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, (shape, values) in tensors.items():
        integral = name.endswith("num_batches_tracked")
        data = struct.pack("<%d%s" % (len(values), "q" if integral else "f"), *values)
        header[name] = {"dtype": "I64" if integral else "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)


def single(values):
    """As float32 holds them."""
    return list(struct.unpack("<%df" % len(values), struct.pack("<%df" % len(values), *values)))


def norm(rng, features):
    return {"weight": ([features], single([rng.uniform(0.5, 1.5) for _ in range(features)])),
            "bias": ([features], single([rng.uniform(-0.3, 0.3) for _ in range(features)])),
            "running_mean": ([features], single([rng.uniform(-0.2, 0.2) for _ in range(features)])),
            "running_var": ([features], single([rng.uniform(0.5, 2) for _ in range(features)])),
            "num_batches_tracked": ([], [7])}


def layer(rng, shape):
    inputs = math.prod(shape[1:])
    reach = (6 / inputs) ** 0.5
    return {"weight": (list(shape), single([rng.uniform(-reach, reach) for _ in range(math.prod(shape))])),
            "bias": ([shape[0]], single([rng.uniform(-0.2, 0.2) for _ in range(shape[0])]))}


def network(seed=4):
    """LeNet-5's state_dict, in the order in which PyTorch has it."""
    rng, state = random.Random(seed), {}
    parts = []
    for n, inputs, outputs, kernel in CONVOLUTIONS:
        parts += [("conv" + n, layer(rng, (outputs, inputs, kernel, kernel))), ("bn" + n, norm(rng, outputs))]
    for n, k, inputs, outputs in LINEARS:
        parts.append(("fc" + n, layer(rng, (outputs, inputs))))
        if k:
            parts.append(("bn" + k, norm(rng, outputs)))
    for name, tensors in parts:
        state.update({name + "." + key: value for key, value in tensors.items()})
    return state


def normalise(state, name, channel, value):
    scale = state[name + ".weight"][1][channel] / math.sqrt(state[name + ".running_var"][1][channel] + 1e-5)
    return max((value - state[name + ".running_mean"][1][channel]) * scale + state[name + ".bias"][1][channel], 0.0)


def convolve(state, n, x, padding):
    """x: channels of rows. Convolution, batch norm, ReLU, 2x2 maxima, as PyTorch's modules in evaluation."""
    (outputs, inputs, kernel, _), w = state["conv%s.weight" % n]
    size = len(x[0])
    if padding:
        row = [0.0] * (size + 2 * padding)
        side = [0.0] * padding
        x = [[row] * padding + [side + r + side for r in channel] + [row] * padding for channel in x]
        size += 2 * padding
    span, out = size - kernel + 1, []
    for o in range(outputs):
        plane = [[state["conv%s.bias" % n][1][o]] * span for _ in range(span)]
        for c in range(inputs):
            for a in range(kernel):
                taps = w[((o * inputs + c) * kernel + a) * kernel:][:kernel]
                for i in range(span):
                    source, row = x[c][i + a], plane[i]
                    for b, tap in enumerate(taps):
                        plane[i] = row = [v + tap * s for v, s in zip(row, source[b:])]
        plane = [[normalise(state, "bn" + n, o, v) for v in row] for row in plane]
        out.append([[max(plane[i][j], plane[i][j + 1], plane[i + 1][j], plane[i + 1][j + 1]) for j in range(0, span, 2)]
                    for i in range(0, span, 2)])
    return out


def predict(state, image):
    x = [[[(v / 255 - 0.1307) / 0.3081 for v in image[28 * i:28 * i + 28]] for i in range(28)]]
    x = convolve(state, "2", convolve(state, "1", x, 2), 0)
    x = [v for channel in x for row in channel for v in row]  # torch.flatten: channel, row, column
    for n, k, inputs, outputs in LINEARS:
        w, bias = state["fc%s.weight" % n][1], state["fc%s.bias" % n][1]
        x = [bias[o] + sum(a * b for a, b in zip(w[o * inputs:(o + 1) * inputs], x)) for o in range(outputs)]
        if k:
            x = [normalise(state, "bn" + k, c, v) for c, v in enumerate(x)]
    return x


class PytorchWeightsTest(tool_case.CommandCase):
    def images(self, count, seed):
        """Blobs of grey, so that predictions differ."""
        rng, images = random.Random(seed), []
        for _ in range(count):
            y, x, spread = rng.uniform(4, 24), rng.uniform(4, 24), rng.uniform(8, 120)
            images.append(bytes(int(255 * math.exp(-((i - y) ** 2 + (j - x) ** 2) / spread)) ^ rng.getrandbits(4)
                                for i in range(28) for j in range(28)))
        return images

    def write_mnist(self, images, labels):
        os.mkdir(self.path("mnist"))
        for split in ["train", "t10k"]:
            with open(self.path("mnist/%s-images-idx3-ubyte" % split), "wb") as f:
                f.write(struct.pack(">4I", 0x803, len(images), 28, 28) + b"".join(images))
            with open(self.path("mnist/%s-labels-idx1-ubyte" % split), "wb") as f:
                f.write(struct.pack(">2I", 0x801, len(labels)) + bytes(labels))

    def recipe(self, name, text):
        text = text.replace("WEIGHTS", self.path("pytorch.safetensors")).replace("DIR", self.path("mnist"))
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def test_the_numbers_of_pytorchs_modules_and_every_quantizer_from_them(self):
        state = network()
        save(self.path("pytorch.safetensors"), state)
        images = self.images(24, 9)
        logits = [predict(state, image) for image in images]
        labels = [row.index(max(row)) for row in logits]
        self.assertGreater(len(set(labels)), 3)
        # No prediction hangs on a rounding.
        self.assertGreater(min(sorted(row)[-1] - sorted(row)[-2] for row in logits), 1e-3)
        self.write_mnist(images, labels)
        recipe = self.recipe("float.yaml", CONFIG)
        seen = json.loads(self.call("eval", self.path("pytorch.safetensors"), "--recipe", recipe, "--json").stdout)
        self.assertEqual(seen["accuracy"], 1.0)
        # The layout counts: columns and rows of the kernels exchanged are another network.
        other = dict(state)
        (o, c, kh, kw), w = state["conv2.weight"]
        other["conv2.weight"] = ([o, c, kh, kw], [w[(p * kh + j) * kw + i] for p in range(o * c) for i in range(kh)
                                                  for j in range(kw)])
        save(self.path("other.safetensors"), other)
        seen = json.loads(self.call("eval", self.path("other.safetensors"), "--recipe", recipe, "--json").stdout)
        self.assertLess(seen["accuracy"], 1.0)
        rows = {"QAT_Quantizer": ", quant_dtype: {weight: int}, quant_scheme: {weight: per_channel_symmetric}",
                "LsqQuantizer": "", "ObserverQuantizer": ""}
        for name, more in rows.items():
            text = CONFIG + QUANTIZER.replace("NAME", name).replace("MORE", more)
            if name == "ObserverQuantizer":
                text = text.replace("epochs: 1", "epochs: 0") + "  calibration_images: 24\n"
            run = self.path(name)
            report = json.loads(self.call("train", self.recipe(name + ".yaml", text), "--out", run, "--json", "--quiet").stdout)
            # With a learning rate of 0 the weights stay; batch norm's statistics have moved in an epoch of training.
            self.assertGreaterEqual(report["quantized_accuracy"], 0.5, name)
            with open(os.path.join(run, "model_quantized.safetensors"), "rb") as f:
                size = struct.unpack("<Q", f.read(8))[0]
                header = json.loads(f.read(size))
                at = header["conv2.weight"]
                self.assertEqual(at["shape"], state["conv2.weight"][0])
                f.seek(8 + size + at["data_offsets"][0])
                data = f.read(at["data_offsets"][1] - at["data_offsets"][0])
            self.assertEqual(list(struct.unpack("<%df" % (len(data) // 4), data)), state["conv2.weight"][1], name)

    def test_names_and_shapes_that_are_not_the_models_are_listed(self):
        state = network()
        state["conv1.kernel"] = state.pop("conv1.weight")
        state["fc3.weight"] = ([84, 10], state["fc3.weight"][1])
        save(self.path("pytorch.safetensors"), state)
        self.write_mnist(self.images(8, 1), [0] * 8)
        said = self.fails("train", self.recipe("float.yaml", CONFIG), "--out", self.path("run"), "--quiet")
        for part in ["conv1.weight", "conv1.kernel", "fc3.weight", "pytorch.safetensors"]:
            self.assertIn(part, said)


if __name__ == "__main__":
    tool_case.main()
