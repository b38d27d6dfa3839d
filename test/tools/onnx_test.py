"""halftone export --format onnx, and halftone verify with ONNX Runtime: what the file holds and what runtimes make of it."""
import json
import os
import shutil
import subprocess
import unittest

import tool_case

PYTHON = os.environ.get("HALFTONE_PYTHON", "python3")
MISSING = subprocess.run([PYTHON, "-c", "import onnx, onnxruntime"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
WHY = "%s has not onnx and onnxruntime (set HALFTONE_PYTHON): %s" % (PYTHON, MISSING.stdout.strip().splitlines()[-1:])

DATA = "threads: 1\nepochs: 1\nbatch_size: 32\noptimizer: {name: Adam, lr: 0.002}\n"
LENET5 = DATA + """
name: small
data: {name: generated-digits, train_samples: 640, test_samples: 100}
model: {name: lenet5}
quantizer: {name: LsqQuantizer, config_list: [{quant_types: [weight, input], quant_bits: 4, first_layer_bits: 8, last_layer_bits: 8,
  op_types: [Conv2d, Linear]}]}
"""
RESNET20 = DATA + """
name: residual
data: {name: generated-colour, train_samples: 64, test_samples: 4}
model: {name: resnet20}
quantizer: {name: QAT_Quantizer, config_list: [{quant_types: [weight, input], quant_bits: 8, op_types: [Conv2d, Linear],
  quant_dtype: {weight: int, input: uint}, quant_scheme: {weight: per_channel_symmetric, input: per_tensor_affine}},
  {quant_types: [output], quant_bits: 8, op_types: [Add]}]}
"""
# NNI's default: affine uint8 weights with one zero point. Without batch norm no channel changes its sign.
AFFINE = LENET5[:LENET5.index("model:")] + """model: {name: lenet5, variant: plain}
quantizer: {name: QAT_Quantizer, config_list: [{quant_types: [weight, input], quant_bits: 8, op_types: [Conv2d, Linear]}]}
"""
AFFINE_ROWS = AFFINE.replace("quant_bits: 8,", "quant_bits: 8, quant_scheme: {weight: per_channel_affine},")
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# Prints the operators that are left when ONNX Runtime has optimized the file.
FUSED = """
import sys, onnx, onnxruntime
onnx.checker.check_model(onnx.load(sys.argv[1]), full_check=True)
options = onnxruntime.SessionOptions()
options.optimized_model_filepath = sys.argv[1] + ".optimized"
options.log_severity_level = 3
onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
print(*[node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node])
"""
# One accumulator step more in the bias of the last layer.
OFF_BY_ONE = """
import sys, numpy, onnx, onnx.numpy_helper as helper
model = onnx.load(sys.argv[1])
for tensor in model.graph.initializer:
    if tensor.name == "fc3.bias":
        tensor.CopyFrom(helper.from_array(helper.to_array(tensor) + numpy.int32(1), tensor.name))
onnx.save(model, sys.argv[2])
"""
# Opset 21: the checker's verdict, and the types of the weights.
WEIGHTS = """
import sys, onnx
model = onnx.load(sys.argv[1])
onnx.checker.check_model(model, full_check=True)
print(*["%s:%s" % (t.name, onnx.TensorProto.DataType.Name(t.data_type)) for t in model.graph.initializer if t.name.endswith(".weight")])
"""
# QONNX in ONNX's reference evaluator, beside the integers of the other file in ONNX Runtime: how many labels differ, and
# the largest difference of logits over the largest logit.
QONNX = """
import json, sys, numpy, onnx, onnxruntime
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
class Quant(OpRun):
    op_domain = "qonnx.custom_op.general"
    def _run(self, x, scale, zero, bits, signed=None, narrow=None, rounding_mode=None):
        assert rounding_mode == "ROUND"
        high = 2.0 ** (bits - signed) - 1 - (narrow and not signed)
        low = -(2.0 ** (bits - 1)) + narrow if signed else 0.0
        code = numpy.rint(numpy.clip((x / scale + zero).astype(numpy.float32), low, high))
        return (((code - zero) * scale).astype(numpy.float32),)
class BipolarQuant(OpRun):
    op_domain = "qonnx.custom_op.general"
    def _run(self, x, scale):
        return (numpy.where(x >= 0, scale, -scale).astype(numpy.float32),)
model = onnx.load(sys.argv[1])
onnx.checker.check_model(model)
metadata = {m.key: json.loads(m.value) for m in model.metadata_props}
low, high = (numpy.array(metadata["image_of_byte_%d" % b], numpy.float32)[:, None, None] for b in (0, 255))
shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
images = numpy.random.default_rng(1).integers(0, 256, [8] + shape, numpy.uint8)
reals = ReferenceEvaluator(model, new_ops=[Quant, BipolarQuant]).run(None, {"image": low + images / numpy.float32(255) * (high - low)})[0]
wanted = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"]).run(None, {"image": images})[0]
print((reals.argmax(1) != wanted.argmax(1)).sum(), abs(reals - wanted).max() / abs(wanted).max())
print(*sorted({node.op_type for node in model.graph.node}))
"""


class OnnxTest(tool_case.CommandCase):
    def train(self, recipe=LENET5):
        with open(self.path("recipe.yaml"), "w") as f:
            f.write(recipe)
        self.call("train", "recipe.yaml", "--out", "run", "--quiet")

    def python(self, script, *args):
        return self.call("-c", script, *args, program=PYTHON).stdout.split()

    def verify(self, *args, code=0):
        report = json.loads(self.call("verify", "run", "--json", "--quiet", *args, code=code).stdout)
        return report, {party["name"]: party for party in report["parties"]}

    @unittest.skipIf(MISSING.returncode, WHY)
    def test_onnx_runtime_makes_the_same_codes_logits_and_labels(self):
        self.train()
        self.call("export", "run", "--format", "onnx")
        for more in [], ["--onnx", "run/model.onnx"]:
            report, parties = self.verify("--python", PYTHON, *more)
            self.assertTrue(report["passes"])
            self.assertNotIn("not_run", report)
            names = sorted(name for name in parties if name.startswith("ONNX Runtime"))
            self.assertEqual(names, [names[0], names[0] + ", all tensors"])
            for name in names:
                self.assertEqual([parties[name][k] for k in ("differing", "differing_logits", "differing_labels", "logits")], [0, 0, 0, 1000])
                self.assertEqual(parties[name]["accuracy"], report["accuracy"])
            self.assertEqual(parties[names[1]]["codes"], parties["scalar oracle"]["codes"])
            self.assertEqual(parties[names[0]]["codes"], 0)

    @unittest.skipIf(MISSING.returncode, WHY)
    def test_onnx_runtime_fuses_every_layer(self):
        clipped = {"conv1": "QLinearConv Clip NhwcMaxPool", "conv2": "QLinearConv Transpose Clip MaxPool Flatten"}
        self.train()
        self.call("export", "run", "--format", "onnx")
        self.assertEqual(self.python(FUSED, "run/model.onnx"),
                         ("Cast Gather Transpose %(conv1)s %(conv2)s QGemm Clip QGemm QGemm" % clipped).split())

    @unittest.skipIf(MISSING.returncode, WHY)
    def test_onnx_runtime_fuses_every_residual_block(self):
        self.train(RESNET20)
        self.call("export", "run", "--format", "onnx")
        fused = self.python(FUSED, "run/model.onnx")
        self.assertEqual({op: fused.count(op) for op in sorted(set(fused))},
                         {"Cast": 1, "Flatten": 1, "Gather": 1, "Pad": 2, "QGemm": 1, "QLinearAdd": 9, "QLinearConv": 19,
                          "QLinearGlobalAveragePool": 1, "Slice": 2, "Transpose": 2})
        self.assertTrue(self.verify("--python", PYTHON)[0]["passes"])

    @unittest.skipIf(MISSING.returncode, WHY)
    def test_affine_weights_are_fused_with_one_zero_point_and_written_down_with_many(self):
        for recipe, layers in (AFFINE, {"QLinearConv": 2, "QGemm": 3}), (AFFINE_ROWS, {"ConvInteger": 10}):
            self.train(recipe)
            self.call("export", "run", "--format", "onnx")
            fused = self.python(FUSED, "run/model.onnx")
            kinds = "QLinearConv", "QGemm", "ConvInteger", "Conv", "Gemm"
            self.assertEqual({op: fused.count(op) for op in kinds if op in fused}, layers)
            report, parties = self.verify("--python", PYTHON)
            self.assertTrue(report["passes"])
            self.assertTrue([name for name in parties if name.endswith("all tensors")])
            shutil.rmtree(self.path("run"))

    @unittest.skipIf(MISSING.returncode, WHY)
    def test_a_file_that_is_not_the_runs_is_found(self):
        self.train()
        self.call("export", "run", "--format", "onnx", "--out", "model.onnx")
        self.python(OFF_BY_ONE, "model.onnx", "wrong.onnx")
        report, parties = self.verify("--python", PYTHON, "--onnx", "wrong.onnx", code=1)
        self.assertFalse(report["passes"])
        for name in parties:
            onnx = name.startswith("ONNX Runtime")
            self.assertEqual((parties[name]["differing"], parties[name]["differing_logits"]), (0, 1000 if onnx else 0))
            self.assertEqual(parties[name]["first"] and parties[name]["first"]["layer"], "fc3" if onnx else None)
        with open(self.path("wrong.onnx"), "wb") as f:
            f.write(b"PK\3\4")
        self.assertIn("expected an ONNX file", self.fails("verify", "run", "--quiet", "--python", PYTHON, "--onnx", "wrong.onnx"))

    @unittest.skipIf(MISSING.returncode, WHY)
    def test_opset_21_holds_int4_weights(self):
        self.train()
        self.call("export", "run", "--format", "onnx", "--opset", "21")
        types = dict(pair.split(":") for pair in self.python(WEIGHTS, "run/model.onnx"))
        self.assertEqual((types["conv1.weight"], types["fc3.weight"]), ("INT8", "INT8"))
        four = [name for name in types if types[name] == "INT4"]
        self.assertTrue(four and set(four) <= {"conv2.weight", "fc1.weight", "fc2.weight"}, types)
        # These layers are computed in float there: a code may be off by a rounding, the labels are not.
        parties = self.verify("--python", PYTHON, "--onnx", "run/model.onnx", code=None)[1]
        shown = [parties[name] for name in parties if name.endswith("all tensors")][0]
        self.assertEqual(shown["differing_labels"], 0)
        self.assertLess(shown["differing"], shown["codes"] // 1000)

    @unittest.skipIf(MISSING.returncode, WHY)
    def test_qonnx_computes_the_same_in_floats(self):
        lenet5 = "Conv Flatten Gemm Identity MaxPool Quant"
        for recipe, operators in (LENET5, lenet5), (AFFINE_ROWS, lenet5), (RESNET20, "Add Conv Flatten Gemm GlobalAveragePool Identity Pad Quant Slice"):
            self.train(recipe)
            self.call("export", "run", "--format", "onnx")
            self.call("export", "run", "--format", "qonnx")
            differing, error, *found = self.python(QONNX, "run/model.qonnx.onnx", "run/model.onnx")
            self.assertEqual(found, operators.split())
            self.assertEqual(int(differing), 0)
            # Float sums: where one falls on the other side of a tie, a code of the next layer differs by one.
            self.assertLess(float(error), 0.05)
            shutil.rmtree(self.path("run"))

    def test_without_onnx_runtime_a_line_says_so(self):
        self.train()
        nothing = tool_case.stand_in_python(self, "#!/bin/sh\necho '{\"error\": \"ModuleNotFoundError: onnxruntime\"}'\ncat >/dev/null\n")
        os.environ["HALFTONE_PYTHON"] = os.path.join(nothing, "python")
        self.addCleanup(os.environ.__setitem__, "HALFTONE_PYTHON", PYTHON)
        report, parties = self.verify()
        self.assertTrue(report["passes"])
        self.assertIn("ModuleNotFoundError: onnxruntime", report["not_run"]["ONNX Runtime"])
        self.assertFalse([name for name in parties if name.startswith("ONNX")])
        table = self.call("verify", "run", "--quiet", "--images", "10").stdout
        self.assertIn("not run: ", [line for line in table.splitlines() if line.startswith("ONNX Runtime ")][0])
        for asked in ["--python", os.path.join(nothing, "python")], ["--python", "no-such-python"], ["--onnx", "recipe.yaml"]:
            self.fails("verify", "run", "--quiet", *asked)
        self.assertIn("no such program", self.fails("verify", "run", "--quiet", "--python", "no-such-python"))

    def test_a_file_appears_whole_or_not_at_all(self):
        self.train()
        said = self.fails("export", "run", "--format", "onnx", "--out", "nowhere/model.onnx")
        self.assertIn("nowhere", said)
        done = self.call("export", "run", "--opset", "21", code=2)
        self.assertIn("goes with --format onnx", done.stderr)
        self.assertFalse(os.path.exists(self.path("run/model.onnx")))
        self.call("export", "run", "--format", "onnx")
        self.assertEqual(sorted(n for n in os.listdir(self.path("run")) if "onnx" in n), ["model.onnx"])


if __name__ == "__main__":
    tool_case.main()
