"""halftone export and halftone verify as a user would call them."""
import json
import os
import struct
import subprocess
import zlib

import tool_case

RECIPE = """
name: small
threads: 1
epochs: 1
batch_size: 32
data: {name: generated-digits, train_samples: 640, test_samples: 200}
model: {name: lenet5}
optimizer: {name: Adam, lr: 0.002}
"""
QUANTIZER = """
quantizer:
  name: QAT_Quantizer
  config_list:
    - {quant_types: [weight, input], quant_bits: 8, op_types: [Conv2d, Linear],
       quant_dtype: {weight: int, input: uint}, quant_scheme: {weight: per_channel_symmetric, input: per_tensor_affine}}
"""
WEIGHTS_ONLY = """
quantizer:
  name: QAT_Quantizer
  config_list:
    - {quant_types: [weight], quant_bits: 8, op_types: [Conv2d, Linear]}
"""
BINARY = """
quantizer:
  name: BNNQuantizer
  config_list:
    - {quant_types: [weight, input], quant_bits: 1, first_layer_bits: {input: 8}, last_layer_bits: {weight: 8},
       op_types: [Conv2d, Linear]}
"""
C_MAIN = """
#define LENET5_IMPLEMENTATION
#define LENET5_SELF_TEST
#include "model.h"
int main(void) {
  static uint8_t image[LENET5_HEIGHT * LENET5_WIDTH * LENET5_CHANNELS];
  const int label = lenet5_label(image);
  return label >= 0 && label < LENET5_RESULTS ? lenet5_self_test() : 100;
}
"""


class DeployTest(tool_case.CommandCase):
    def train(self, quantizer=QUANTIZER, *more):
        with open(self.path("recipe.yaml"), "w") as f:
            f.write(RECIPE + quantizer)
        self.call("train", self.path("recipe.yaml"), "--out", self.path("run"), "--quiet", *more)

    def check_c_header(self):
        self.call("export", "run", "--format", "c")
        with open(self.path("main.c"), "w") as f:
            f.write(C_MAIN)
        subprocess.run(["cc", "-std=c99", "-O1", "-Wall", "-Werror", "-I", self.path("run"), "-o", self.path("main"),
                        self.path("main.c")], check=True)
        self.assertEqual(subprocess.run([self.path("main")]).returncode, 0)

    def test_a_run_is_exported_and_verified(self):
        self.train()
        report = json.loads(self.call("export", "run", "--json").stdout)
        self.assertEqual(report["file"], "run/model.halftone")
        self.assertEqual(report["file_bytes"], os.path.getsize(self.path("run/model.halftone")))
        self.assertLess(3.5 * report["file_bytes"], report["fp32_bytes"])
        layers = {layer["layer"]: layer for layer in report["layers"]}
        self.assertEqual(layers["fc1"]["weights"], 400 * 120)
        self.assertEqual(layers["fc1"]["weight_bits"], 8)
        self.assertIn(layers["fc1"]["accumulator_bits"], range(16, 26))
        accuracy = json.loads(self.call("eval", "run", "--json").stdout)["accuracy"]
        for more in [], ["--program", "run/model.halftone"]:
            verified = json.loads(self.call("verify", "run", "--json", "--quiet", *more).stdout)
            self.assertTrue(verified["passes"])
            self.assertEqual(verified["images"], 200)
            self.assertEqual(verified["accuracy"], accuracy)
            own = [party for party in verified["parties"] if not party["name"].startswith("ONNX Runtime")]  # onnx_test
            names = [party["name"] for party in own]
            self.assertEqual((names[0], names[-1]), ("engine, scalar", "scalar oracle"))
            for party in own:
                self.assertEqual(party["codes"], 200 * 8868)
                self.assertEqual((party["differing"], party["differing_logits"], party["differing_labels"]), (0, 0, 0))
                self.assertEqual(party["accuracy"], accuracy)
        table = self.call("verify", "run", "--quiet", "--images", "30").stdout
        self.assertIn("0 of %d codes differ" % (30 * 8868), table)

    def test_a_run_becomes_a_c_header_that_computes_the_same_labels(self):
        self.train()
        out = self.call("export", "run", "--format", "c").stdout
        self.assertIn("kB of buffer", out)
        self.check_c_header()
        # A checkpoint in place of its folder: the file lies beside it.
        os.remove(self.path("run/model.h"))
        self.call("export", "run/checkpoint.safetensors", "--format", "c")
        self.assertTrue(os.path.exists(self.path("run/model.h")))

    def test_a_binary_network_is_exported_and_verified(self):
        self.train(BINARY, "--set", "model.variant=hardtanh")
        report = json.loads(self.call("export", "run", "--json").stdout)
        bits = {layer["layer"]: layer["weight_bits"] for layer in report["layers"] if "weight_bits" in layer}
        self.assertEqual(bits, {"conv1": 1, "conv2": 1, "fc1": 1, "fc2": 1, "fc3": 8})
        self.assertTrue(json.loads(self.call("verify", "run", "--json", "--quiet").stdout)["passes"])
        self.check_c_header()

    def test_a_file_that_is_not_the_runs_is_told(self):
        self.train()
        self.call("export", "run", "--out", "p.halftone")
        with open(self.path("p.halftone"), "rb") as f:
            whole = f.read()

        def verify(data):
            with open(self.path("p.halftone"), "wb") as f:
                f.write(data)
            return ["verify", "run", "--quiet", "--program", "p.halftone"]

        self.assertIn("corrupted", self.fails(*verify(whole[:-5] + b"x" + whole[-4:])))
        self.assertIn("it was cut", self.fails(*verify(whole[:-5])))
        self.assertIn("version 7", self.fails(*verify(whole[:8] + struct.pack("<I", 7) + whole[12:])))
        self.assertIn("no program of Halftone", self.fails(*verify(b"PK\3\4" + whole)))
        # One step more in the bias of the last logit, with a checksum that fits: only comparing finds it.
        body = bytearray(whole[24:])
        at = len(body) - 8 - 8
        body[at:at + 4] = struct.pack("<i", struct.unpack_from("<i", body, at)[0] + 1)
        header = whole[:12] + struct.pack("<IQ", zlib.crc32(bytes(body)), len(body))
        found = self.call(*verify(header + bytes(body)), code=1).stdout
        self.assertIn("0 of 1773600 codes differ, 200 of 2000 logits", found)
        self.assertIn("first in fc3 (convolution), image 0, channel 9", found)
        self.assertIn("NOT EQUAL", found)

    def test_what_has_no_integer_form_is_refused_with_the_reason_of_eval(self):
        self.train(WEIGHTS_ONLY)
        why = json.loads(self.call("eval", "run", "--json").stdout)["float_layers"]
        for command in "export", "verify":
            said = self.fails(command, "run")
            for layer, reason in why.items():
                self.assertIn("%s: %s" % (layer, reason), said)
        self.assertFalse(os.path.exists(self.path("run/model.halftone")))

    def test_a_float_run_is_refused(self):
        self.train("")
        self.assertIn("a network in float", self.fails("export", "run"))


if __name__ == "__main__":
    tool_case.main()
