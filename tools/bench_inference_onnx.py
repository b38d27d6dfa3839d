"""ONNX Runtime's half of bench_inference. usage: bench_inference_onnx.py FILE BATCH THREADS SECONDS

Prints {"ms": median of the runs, "version": ONNX Runtime's}. Input and output are one tensor each; images are random."""
import json
import statistics
import sys
import time

import numpy
import onnxruntime

path, batch, threads, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
options.log_severity_level = 3
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
source = session.get_inputs()[0]
images = numpy.random.RandomState(1).randint(0, 256, [batch] + source.shape[1:]).astype(numpy.uint8)
times, end = [], time.perf_counter() + seconds
while len(times) < 3 or time.perf_counter() < end:
    start = time.perf_counter()
    session.run(None, {source.name: images})
    times.append((time.perf_counter() - start) * 1e3)
print(json.dumps({"ms": statistics.median(times[1:]), "version": onnxruntime.__version__}))
