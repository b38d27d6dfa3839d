"""ONNX Runtime for `halftone verify`, which starts this with a socket as standard input and output.

In: one JSON line {"model": bytes, "tensors": [...], "shape": [H, W, C], "threads": n}, the model; then, for every batch,
a line with the number of images, and the images, (H, W, C) bytes each.
Out: one JSON line, {"version": ...} or {"error": ...}; then, for every batch, a line {"bytes": [...]} or {"error": ...},
and that many bytes of every tensor, image after image, (H, W, C) each, and of the float32 logits.
"""
import json
import os
import sys

SOURCE, TARGET = sys.stdin.buffer, sys.stdout.buffer


def say(**what):
    TARGET.write(json.dumps(what).encode() + b"\n")
    TARGET.flush()


def fail(error):
    say(error=" ".join(("%s: %s" % (type(error).__name__, error)).split()))
    sys.exit(0)


def session_of(model, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # Processors without VNNI: exact sums of u8 x s8, not the fast saturating ones. Changes nothing elsewhere.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def channels_last(array):
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def main():
    request = json.loads(SOURCE.readline())
    model = SOURCE.read(request["model"])
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
        import numpy
        session = session_of(model, request["threads"])
    except Exception as error:  # whatever is missing or refused: the other side says so
        fail(error)
    say(version=onnxruntime.__version__)
    height, width, channels = request["shape"]
    for line in iter(SOURCE.readline, b""):
        count = int(line)
        images = numpy.frombuffer(SOURCE.read(count * height * width * channels), numpy.uint8)
        images = images.reshape(count, height, width, channels).transpose(0, 3, 1, 2)
        try:
            made = session.run(request["tensors"] + ["logits"], {"image": numpy.ascontiguousarray(images)})
        except Exception as error:
            fail(error)
        parts = [channels_last(array).tobytes() for array in made]
        say(bytes=[len(part) for part in parts])
        for part in parts:
            TARGET.write(part)
        TARGET.flush()


main()
