"""The command line as a user would call it: train, stop, resume, eval, inspect, list, and what it says about mistakes."""
import json
import os
import re
import signal
import struct
import subprocess
import time

import tool_case

HALFTONE = tool_case.binary("tools/halftone")
QUICKSTART = tool_case.binary("tools/quickstart")

RECIPE = """
name: small
threads: 1
epochs: 2
batch_size: 32
data: {name: generated-digits, train_samples: 1600, test_samples: 200}
model: {name: lenet5}
optimizer: {name: Adam, lr: 0.002}
"""
QUANTIZER = """
quantizer:
  name: QAT_Quantizer
  float_epochs: 0.5
  config_list:
    - {quant_types: [weight, input], quant_bits: 8, op_types: [Conv2d, Linear],
       quant_dtype: {weight: int, input: uint}, quant_scheme: {weight: per_channel_symmetric, input: per_tensor_affine}}
"""
PTQ = """[{"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d", "Linear"],
 "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"}}]
"""
PTQ_QAT = "name: QAT_Quantizer\nconfig_list: " + PTQ
NAIVE = """
name: NaiveQuantizer
config_list:
  - {quant_types: [weight], quant_bits: 8, op_types: [Conv2d, Linear]}
"""


class HalftoneTest(tool_case.CommandCase):
    def recipe(self, text=RECIPE + QUANTIZER, name="recipe.yaml"):
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def weights(self, run):
        with open(self.path(run + "/model_quantized.safetensors"), "rb") as f:
            return f.read()

    def test_a_command_that_is_none_is_named(self):
        self.assertIn("found \"evaluate\" (did you mean eval?)", self.fails("evaluate"))
        self.assertIn("expected one of train", self.fails("foo"))

    def test_a_folder_for_a_set_that_has_no_files(self):
        self.call("train", self.recipe(RECIPE), "--out", self.path("run"), "--quiet", "--set", "epochs=1",
                  "--set", "data.train_samples=64")
        for command in [["eval"], ["quantize", "--config", self.recipe(PTQ, "ptq.json")]]:
            said = self.fails(command[0], self.path("run"), *command[1:], "--data", self.path(""))
            self.assertIn("--data: %s: expected no folder: generated-digits is made" % command[0], said)

    def test_train_eval_and_inspect_agree(self):
        out = self.call("train", self.recipe(), "--out", self.path("run"), "--json", "--quiet")
        lines = out.stdout.splitlines()
        self.assertEqual(len(lines), 1)
        report = json.loads(lines[0])
        self.assertEqual(report["dataset"], "generated-digits")
        self.assertEqual(report["epochs"], 2)
        self.assertEqual(report["steps"], 100)
        self.assertGreater(report["quantized_accuracy"], 0.5)
        self.assertLess(report["quantized_bytes"], 0.3 * report["fp32_bytes"])
        for name in ["recipe.yaml", "metrics.jsonl", "checkpoint.safetensors", "curves.svg", "report.json",
                     "model_quantized.safetensors", "calibration.json"]:
            self.assertTrue(os.path.getsize(self.path("run/" + name)) > 0, name)
        self.assertTrue([n for n in os.listdir(self.path("run")) if "tfevents" in n])
        self.assertFalse([n for n in os.listdir(self.path("run")) if ".tmp" in n])
        again = json.loads(self.call("eval", self.path("run"), "--json").stdout)
        self.assertEqual(again["accuracy"], report["quantized_accuracy"])
        exported = self.path("run/model_quantized.safetensors")
        again = json.loads(self.call("eval", exported, "--recipe", self.path("recipe.yaml"), "--json").stdout)
        self.assertEqual(again["accuracy"], report["quantized_accuracy"])
        # Nothing of a file is dropped: its quantizers are the recipe's.
        said = self.fails("eval", exported, "--recipe", self.recipe(RECIPE, "float.yaml"))
        self.assertIn("QAT_Quantizer", said)
        said = self.fails("eval", exported, "--recipe", self.path("recipe.yaml"),
                          "--set", "quantizer.config_list.0.op_types=[Conv2d]")
        self.assertIn("fc1 (input), fc1 (weight)", said)
        self.assertIn("--set quantizer", self.fails("eval", self.path("run"), "--set", "quantizer.config_list.0.quant_bits=4"))
        seen = json.loads(self.call("inspect", self.path("run"), "--json").stdout)
        self.assertEqual(seen["run"]["step"], 100)
        self.assertTrue(all(q["initialised"] for q in seen["quantizers"]))
        self.assertIn("per-channel", self.call("inspect", self.path("run")).stdout)

    def test_two_runs_with_one_seed_give_the_same_bits_and_another_seed_others(self):
        for run, seed in [("a", "0"), ("b", "0"), ("c", "1")]:
            self.call("train", self.recipe(), "--out", self.path(run), "--quiet", "--set", "seed=" + seed)
        self.assertEqual(self.weights("a"), self.weights("b"))
        self.assertNotEqual(self.weights("a"), self.weights("c"))

    def stop_and_resume(self, number, code, text=RECIPE + QUANTIZER):
        """Trains 'whole' in one go, 'parts' with signals in between; both must end with the same bits."""
        recipe = self.recipe(text)
        args = ["--quiet", "--set", "epochs=3", "--set", "checkpoint_minutes=0.0005"]
        self.call("train", recipe, "--out", self.path("whole"), *args)
        process = subprocess.Popen([HALFTONE, "train", recipe, "--out", self.path("parts"), *args], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        deadline = time.time() + 60
        while not os.path.exists(self.path("parts/checkpoint.safetensors")) and time.time() < deadline:
            time.sleep(0.005)
        process.send_signal(number)
        said = process.communicate()[1]
        self.assertEqual(process.returncode, code, said)
        before = json.loads(self.call("inspect", self.path("parts"), "--json").stdout)["run"]["step"]
        self.assertLess(before, 150)
        self.call("train", "--resume", self.path("parts"), "--quiet")
        self.assertEqual(self.weights("whole"), self.weights("parts"))
        rows = {}
        for run in ["whole", "parts"]:
            with open(self.path(run + "/metrics.jsonl")) as f:
                rows[run] = [json.loads(line) for line in f]
            for row in rows[run]:
                row.pop("images_per_second")  # the only figure that time decides
        self.assertEqual(rows["whole"], rows["parts"])
        return said

    def test_sigint_writes_a_checkpoint_and_a_resumed_run_gives_the_same_bits(self):
        self.assertIn("--resume", self.stop_and_resume(signal.SIGINT, 128 + signal.SIGINT))

    def test_a_run_that_ends_with_a_calibration_resumes_too(self):
        self.stop_and_resume(signal.SIGKILL, -signal.SIGKILL,
                             RECIPE + "quantizer: {name: ObserverQuantizer, config_list: " + PTQ + "}\n")

    def test_sigterm_too(self):
        self.stop_and_resume(signal.SIGTERM, 128 + signal.SIGTERM)

    def test_a_killed_run_goes_on_from_its_last_checkpoint(self):
        self.stop_and_resume(signal.SIGKILL, -signal.SIGKILL)

    def test_a_float_run_is_a_start_for_a_quantized_one(self):
        self.call("train", self.recipe(RECIPE, "float.yaml"), "--out", self.path("float"), "--quiet")
        weights = self.path("float/model.safetensors")
        report = json.loads(self.call("train", self.recipe(), "--out", self.path("q"), "--quiet", "--json", "--set",
                                      "model.weights=" + weights, "--set", "epochs=1",
                                      "--set", "quantizer.float_epochs=0").stdout)
        self.assertGreater(report["quantized_accuracy"], 0.6)
        evaluated = json.loads(self.call("eval", weights, "--recipe", self.path("float.yaml"), "--json").stdout)
        self.assertGreater(evaluated["accuracy"], 0.6)

    def float_run(self):
        self.call("train", self.recipe(RECIPE, "float.yaml"), "--out", self.path("float"), "--quiet")
        return self.path("float")

    def config(self, text=PTQ, name="ptq.json"):
        return self.recipe(text, name)

    def test_a_run_folder_is_a_start_too(self):
        report = json.loads(self.call("train", self.recipe(), "--out", self.path("q"), "--quiet", "--json", "--set",
                                      "model.weights=" + self.float_run(), "--set", "epochs=1",
                                      "--set", "quantizer.float_epochs=0").stdout)
        self.assertGreater(report["quantized_accuracy"], 0.6)

    def test_quantize_calibrates_a_float_run_and_eval_and_inspect_read_it(self):
        run = self.float_run()
        out = self.call("quantize", run, "--config", self.config(), "--out", self.path("q"), "--json", "--quiet")
        self.assertEqual(len(out.stdout.splitlines()), 1)
        report = json.loads(out.stdout)
        with open(self.path("q/report.json")) as f:
            self.assertEqual(json.load(f), report)
        with open(self.path("float/report.json")) as f:
            self.assertEqual(report["float_accuracy"], json.load(f)["float_accuracy"])
        self.assertGreater(report["quantized_accuracy"], report["float_accuracy"] - 0.02)
        self.assertEqual(report["images"], 100)
        self.assertEqual(report["float_layers"], {})
        self.assertLess(report["quantized_bytes"], 0.3 * report["fp32_bytes"])
        self.assertEqual(len(report["quantizers"]), 10)
        for q in report["quantizers"]:
            self.assertTrue(q["initialised"] and q["scale"] and q["bits"] == 8, q)
            self.assertLess(q["clipped"], 0.02)
        evaluated = json.loads(self.call("eval", self.path("q"), "--json").stdout)
        self.assertEqual(evaluated["accuracy"], report["quantized_accuracy"])
        self.assertEqual(evaluated["quantizer"], "ObserverQuantizer")
        exported = self.path("q/model_quantized.safetensors")
        evaluated = json.loads(self.call("eval", exported, "--recipe", self.path("q/recipe.yaml"), "--json").stdout)
        self.assertEqual(evaluated["accuracy"], report["quantized_accuracy"])
        for path, flags in [(self.path("q"), ["--clipped"]), (self.path("q"), []), (exported, [])]:
            rows = json.loads(self.call("inspect", path, *flags, "--json").stdout)["quantizers"]
            self.assertEqual(sorted((q["where"], q["scale"]) for q in rows),
                             sorted((q["where"], q["scale"]) for q in report["quantizers"]))
            self.assertEqual([q for q in rows if "clipped" in q], rows if flags else [])
        self.assertIn("clipped", self.call("inspect", self.path("q"), "--clipped").stdout)
        folds = json.loads(self.call("inspect", self.path("q"), "--folds", "--json").stdout)["folds"]
        self.assertEqual([f["norm"] for f in folds], ["bn1", "bn2", "bn3", "bn4"])
        for f in folds:
            self.assertLess(f["difference"], 1e-3 * f["magnitude"])
        self.assertIn("folded batch norm", self.call("inspect", self.path("q"), "--folds").stdout)
        with open(self.path("q/calibration.json")) as f:
            self.assertEqual(json.load(f)["fc3"]["tracked_qmax_input"], 255)
        # The export is a start for training, and its ranges one for QAT.
        self.call("train", self.recipe(), "--out", self.path("on"), "--quiet", "--set", "model.weights=" + self.path("q"),
                  "--set", "epochs=1", "--set", "quantizer.float_epochs=0")

    def test_quantize_takes_a_plain_file_and_other_configs(self):
        weights = self.float_run() + "/model.safetensors"
        sizes = ["--set", "data.test_samples=100", "--set", "data.train_samples=60"]
        accuracies = []
        for name, text in [("list.yaml", "- {quant_types: [weight, input], quant_bits: 8, op_types: [Conv2d, Linear]}\n"),
                           ("section.yaml", "name: ObserverQuantizer\nconfig_list: " + PTQ), ("whole.yaml", RECIPE +
                            "quantizer: {name: ObserverQuantizer, config_list: " + PTQ + "}\n")]:
            report = json.loads(self.call(
                "quantize", weights, "--model", "lenet5", "--calibrate", "generated-digits", "--images", "33", *sizes,
                "--config", self.config(text, name), "--out", self.path(name + ".out"), "--json").stdout)
            self.assertEqual(report["images"], 33)
            accuracies.append(report["quantized_accuracy"])
        self.assertEqual(accuracies[1], accuracies[2])
        naive = self.call("quantize", weights, "--model", "lenet5", "--calibrate", "generated-digits", *sizes, "--out",
                          self.path("naive"), "--config", self.config(NAIVE, "naive.yaml"), "--quiet")
        self.assertIn("float path, not deployable as integers", naive.stdout)
        self.call("eval", self.path("naive"))

    def test_quantize_says_what_is_wrong_and_writes_nothing(self):
        run, good = self.float_run(), self.config()
        before = sorted(os.listdir(self.temp.name))
        for part, args in [
                ("--model NAME", [run + "/model.safetensors", "--config", good]),
                ("did you mean lenet5", [run + "/model.safetensors", "--config", good, "--model", "lenet",
                                         "--calibrate", "generated-digits"]),
                ("no --model", [run, "--config", good, "--model", "lenet5"]),
                ("nothere.yaml", [run, "--config", "nothere.yaml"]),
                ("config_list", [run, "--config", self.path("float.yaml")]),
                ("from 1 to 1600", [run, "--config", good, "--images", "5000"]),
                ("--set optimizer.lr=1", [run, "--config", good, "--set", "optimizer.lr=1"]),
                ("--calibrate DATA", [run + "/model.safetensors", "--config", good, "--model", "lenet5", "--calibrate",
                                      "generated-digits", "--set", "data.name=cifar10"]),
                ("--set model.name=resnet20", [run + "/model.safetensors", "--config", good, "--model", "lenet5",
                                               "--calibrate", "generated-digits", "--set", "model.name=resnet20"]),
                ("one without a name", [run, "--config", self.config("quantizer: {}\n", "bad.yaml")]),
                ("nowhere", ["nowhere", "--config", good]),
                ("--calibrate mnist --data", [run, "--config", good, "--calibrate", self.temp.name]),
                ("no --images: NaiveQuantizer", [run, "--config", self.config(NAIVE, "recipe.yaml"), "--images", "10"]),
                ("/proc/no", [run, "--config", good, "--out", "/proc/no/q"])]:
            self.assertIn(part, self.fails("quantize", *args, *([] if "--out" in args else ["--out", self.path("q")]), "--quiet"))
        for part, text in [("halftone train", PTQ_QAT), ("quant_bits", PTQ.replace("8", "99")), ("per-tensor", PTQ.replace(
                "per_tensor_affine", "per_channel_affine")), ("did you mean", PTQ.replace("Conv2d", "Conv2D"))]:
            path = self.config(text, "bad.yaml")
            if part == "did you mean":
                self.assertIn(part, self.call("quantize", run, "--config", path, "--out", self.path("w"), "--quiet").stderr)
            else:
                self.assertIn(part, self.fails("quantize", run, "--config", path, "--out", self.path("q"), "--quiet"))
        self.assertIn("reestimate_batches", self.fails("quantize", run, "--out", self.path("q"), "--config", self.config(
            "name: ObserverQuantizer\nreestimate_batches: 3\nconfig_list: " + PTQ, "bad.yaml")))
        self.assertIn("new or empty folder", self.fails("quantize", run, "--config", good, "--out", run))
        self.assertEqual(sorted(set(os.listdir(self.temp.name)) - {"bad.yaml", "recipe.yaml", "w"}), before)

    def test_train_takes_every_quantizer_from_scratch_and_from_a_float_run(self):
        start = self.float_run()
        for row in json.loads(self.call("list", "quantizers", "--json").stdout)["quantizers"]:
            name = row["name"]
            bits = {"BNNQuantizer": 1}.get(name, 8)
            # Of BNN the weights alone: behind a ReLU every sign is +1.
            types = "weight" if name in ["NaiveQuantizer", "BNNQuantizer"] else "weight, input"
            recipe = self.recipe(RECIPE + "quantizer: {name: %s, config_list: [{quant_types: [%s], quant_bits: %d, "
                                 "op_names: [conv2, fc1]}]}\n" % (name, types, bits))
            for kind, extra in [("scratch", []), ("float", ["--set", "model.weights=" + start])]:
                with self.subTest(name=name, start=kind):
                    out = self.path(name + kind)
                    report = json.loads(self.call("train", recipe, "--out", out, "--quiet", "--json", "--set", "epochs=1",
                                                  *extra).stdout)
                    self.assertEqual(report["quantizer"], name)
                    self.assertGreater(report["quantized_accuracy"], 0.2)
                    again = json.loads(self.call("eval", out, "--json").stdout)
                    self.assertEqual(again["accuracy"], report["quantized_accuracy"])
                    self.assertTrue(os.path.getsize(out + "/model_quantized.safetensors"))
            none = ["train", recipe, "--out", self.path(name + "none"), "--quiet", "--set", "epochs=0"]
            with self.subTest(name=name, start="no training"):
                self.assertIn("model.weights", self.fails(*none))
                none += ["--set", "model.weights=" + start]
                if name in ["ObserverQuantizer", "NaiveQuantizer"]:
                    self.assertIn("0 epochs, 0 steps", self.call(*none).stdout)
                else:
                    self.assertIn("has to be trained", self.fails(*none))

    def test_a_ptq_recipe_without_epochs_is_halftone_quantize(self):
        run = self.float_run()
        section = "quantizer: {name: ObserverQuantizer, calibration_images: 50, config_list: " + PTQ + "}\n"
        recipe = self.recipe(RECIPE + section)
        trained = json.loads(self.call("train", recipe, "--set", "epochs=0", "--set", "model.weights=" + run, "--out",
                                       self.path("a"), "--quiet", "--json").stdout)
        quantized = json.loads(self.call("quantize", run, "--config", recipe, "--out", self.path("b"), "--json",
                                         "--quiet").stdout)
        for key in ["float_accuracy", "quantized_accuracy", "quantized_bytes", "images"]:
            self.assertEqual(trained[key], quantized[key], key)
        self.assertEqual(trained["images"], 50)
        self.assertEqual(self.weights("a"), self.weights("b"))
        self.call("train", "--resume", self.path("a"), "--quiet")
        self.assertEqual(self.weights("a"), self.weights("b"))
        self.assertIn("start a new run", self.fails("train", "--resume", self.path("a"), "--set", "epochs=1", "--quiet"))

    def test_inspect_says_the_same_of_a_run_and_of_its_export(self):
        for name, bits, ends in [("LsqQuantizer", 4, {}), ("LsqPlusQuantizer", 4, {}),
                                 ("DoReFaQuantizer", 2, {"weight": [-1, 1], "input": [0, 1]}),
                                 ("BNNQuantizer", 1, {"weight": [-1, 1], "input": [-1, 1]})]:
            with self.subTest(name):
                self.call("train", self.recipe(RECIPE + """
quantizer: {name: %s, config_list: [{quant_types: [weight, input], quant_bits: %d, op_names: [conv2, fc1]}]}
""" % (name, bits)), "--out", self.path(name), "--quiet", "--set", "epochs=1")
                rows = {}
                for path in [self.path(name), self.path(name + "/model_quantized.safetensors")]:
                    for q in json.loads(self.call("inspect", path, "--json").stdout)["quantizers"]:
                        for key in ["scale", "zero_point", "min_val", "max_val"]:
                            self.assertTrue(q[key], q)
                        rows.setdefault(q["where"], []).append(q)
                        if ends:
                            for low, high in zip(q["min_val"], q["max_val"]):
                                for found, wanted in zip([low, high], ends[q["type"]]):
                                    self.assertAlmostEqual(found, wanted, 6)
                    self.assertNotIn("- to -", self.call("inspect", path).stdout)
                self.assertEqual(len(rows), 4)
                for where, (run, export) in rows.items():
                    self.assertEqual(run["spec"], export["spec"])
                    # A batch norm follows both layers: how it is folded is part of a weight's words.
                    self.assertEqual(", fold scale" in run["spec"], "weight_fake_quant" in where, run)
                    for key in ["scale", "zero_point", "min_val", "max_val"]:
                        self.assertEqual(len(run[key]), len(export[key]))
                        for a, b in zip(run[key], export[key]):
                            self.assertAlmostEqual(a, b, delta=1e-6 * abs(a))

    def test_quantize_refuses_latent_weights(self):
        self.call("train", self.recipe(RECIPE + """
quantizer: {name: BNNQuantizer, config_list: [{quant_types: [weight], quant_bits: 1, op_names: [conv2]}]}
"""), "--out", self.path("bnn"), "--quiet", "--set", "epochs=1")
        self.assertIn("latent weights of BNNQuantizer", self.fails("quantize", self.path("bnn"), "--config", self.config(),
                                                                   "--out", self.path("q")))

    def test_inspect_of_folds_wants_a_quantized_run(self):
        self.assertIn("a float network folds nothing", self.fails("inspect", self.float_run(), "--folds"))

    def test_quickstart_ends_with_one_json_object(self):
        recipe = self.recipe()
        out = self.call("--recipe", recipe, "--out", self.path("q"), "--quiet", program=QUICKSTART)
        report = json.loads(out.stdout.splitlines()[-1])
        self.assertEqual(report["dataset"], "generated-digits")
        self.assertGreater(report["float_accuracy"], 0.5)
        self.assertGreater(report["quantized_accuracy"], 0.5)
        self.assertIn("generated digits", out.stderr)

    def test_quickstart_takes_a_data_folder_with_an_apostrophe(self):
        folder = self.path("it's")
        os.mkdir(folder)
        for stem, count in [("train", 160), ("t10k", 40)]:
            labels = bytes(i % 10 for i in range(count))
            with open(folder + "/%s-images-idx3-ubyte" % stem, "wb") as f:
                f.write(struct.pack(">4I", 0x803, count, 28, 28) + b"".join(bytes([20 * d]) * 784 for d in labels))
            with open(folder + "/%s-labels-idx1-ubyte" % stem, "wb") as f:
                f.write(struct.pack(">2I", 0x801, count) + labels)
        recipe = self.recipe(RECIPE.replace("train_samples: 1600, test_samples: 200", "train_samples: 160, test_samples: 40"))
        out = self.call("--recipe", recipe, "--data", folder, "--out", self.path("q"), "--quiet", program=QUICKSTART)
        self.assertEqual(json.loads(out.stdout.splitlines()[-1])["dataset"], "mnist")

    def test_the_help_names_recipes_that_exist(self):
        root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
        recipes = re.findall(r"examples/\S+\.yaml", self.call("--help").stdout)
        self.assertTrue(recipes)
        for name in recipes:
            self.assertTrue(os.path.exists(os.path.join(root, name)), name)

    def test_lists(self):
        for kind, name in [("models", "resnet20"), ("quantizers", "QAT_Quantizer"), ("observers", "ema"),
                           ("datasets", "mnist"), ("optimizers", "AdamW")]:
            self.assertIn(name, self.call("list", kind).stdout)
            rows = json.loads(self.call("list", kind, "--json").stdout)[kind]
            self.assertIn(name, [row["name"] for row in rows])
            self.assertTrue(all(row["description"] for row in rows))

    def test_a_device_that_is_not_there_is_one_line_and_auto_goes_on_with_the_cpu(self):
        recipe = self.recipe(RECIPE, "small.yaml")
        small = ["--set", "epochs=1", "--set", "data.train_samples=32", "--set", "data.test_samples=16", "--quiet"]
        for words in ("cuda", "cuda:0"):
            said = self.fails("train", recipe, "--out", self.path("run"), "--device", words)
            self.assertIn("--device: expected a CUDA device, found ", said)
            self.assertIn("--device cpu", said)
        self.assertFalse(os.path.exists(self.path("run")))
        self.assertIn("found gpu", self.fails("train", recipe, "--device", "gpu"))
        done = self.call("train", recipe, "--out", self.path("run"), "--device", "auto", *small)
        self.assertEqual(len(re.findall("^halftone: running on the CPU: .+$", done.stderr, re.M)), 1)
        self.assertIn("expected a CUDA device", self.fails("--out", self.path("quick"), "--device", "cuda", program=QUICKSTART))
        for command in (["eval", self.path("run")], ["quantize", self.path("run"), "--config", recipe]):
            self.assertIn("expected a CUDA device", self.fails(*command, "--device", "cuda"))

    def test_mistakes_get_one_clear_line(self):
        recipe = self.recipe()
        self.assertIn("did you mean 'epochs'?", self.fails("train", recipe, "--set", "epoch=3"))
        self.assertIn("lenet5", self.fails("train", recipe, "--set", "model.name=lenet"))
        self.assertIn("mnist", self.fails("train", recipe, "--set", "data.name=mnits"))
        self.assertIn("[3, 32, 32]", self.fails("train", recipe, "--set", "model.name=resnet20"))
        self.assertIn("/proc/no", self.fails("train", recipe, "--out", "/proc/no"))
        self.assertIn("recipe.yaml:", self.fails("train", self.recipe("epochs: x\n")))
        self.assertIn("quant_bits", self.fails(
            "train", self.recipe(), "--set", "quantizer.config_list.0.quant_bits=99"))
        self.assertIn("no-such", self.fails("eval", self.path("no-such")))

    def test_a_result_that_cannot_be_written_is_a_failure(self):
        for command in (["list", "models", "--json"], ["list", "models"], ["--help"]):
            with open("/dev/full", "w") as full:
                done = subprocess.run([HALFTONE, *command], stdout=full, stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stderr, "halftone: standard output: expected room for the result, found: "
                                          "No space left on device\n")

    def test_words_that_are_no_command_are_said_in_one_line(self):
        for command, words in ((["list", "model"], "model not in"), (["train", "a", "--sett", "b"], "--sett"), ([], "subcommand")):
            done = self.call(*command, code=2)
            self.assertRegex(done.stderr, "^halftone: .*%s.*\n$" % words)
        self.assertIn("argument 3, behind --out: arguments: expected a value", self.fails("train", "--out", "", "a"))
        self.assertIn("argument 3, behind a: arguments: expected a value", self.fails("train", "a", "--resume="))
        self.assertIn("argument 2: arguments: expected UTF-8", self.fails("eval", b"a\xff"))

    def test_recipes_that_cannot_be_read_say_where(self):
        with open(self.path("bytes.yaml"), "wb") as f:
            f.write(b"epochs: 1\nname: \xff\n")
        self.assertIn("bytes.yaml:2: recipe: expected UTF-8", self.fails("train", self.path("bytes.yaml")))
        said = self.fails("train", self.recipe("- a\n"), "--set", "threads=1")
        self.assertIn("recipe.yaml: recipe: expected a mapping of keys to values, found a list", said)
        twice = QUANTIZER.replace("quant_bits: 8", "quant_bits: 8, quant_bits: 8", 1)
        self.assertRegex(self.fails("train", self.recipe(RECIPE + twice)), r"recipe.yaml:\d+: config_list: expected each key once")
        said = self.fails("train", self.recipe(RECIPE), "--set", "schedule.warmup_epochs=9")
        self.assertIn("schedule.warmup_epochs: expected at most the 2 epochs of the run", said)

    def test_import_says_what_a_file_is_and_takes_no_keys_of_training(self):
        with open(self.path("m.pt"), "wb") as f:
            f.write(b"PK\x03\x04 and more of an archive")
        self.assertIn("found a zip archive, as torch.save writes", self.fails("import", self.path("m.pt"), "--model", "lenet5"))
        said = self.fails("import", self.path("m.pt"), "--model", "lenet5", "--set", "epochs=3")
        self.assertIn("nothing is trained, found --set epochs=3", said)

    def test_threads_wait_briefly_unless_the_environment_says_otherwise(self):
        os.mkfifo(self.path("recipe"))
        clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
        for env, said in (({}, ["GOMP_SPINCOUNT=1000"]), ({"GOMP_SPINCOUNT": "7"}, ["GOMP_SPINCOUNT=7"]),
                          ({"OMP_WAIT_POLICY": "passive"}, [])):
            process = subprocess.Popen([HALFTONE, "train", self.path("recipe")], env={**clean, **env})
            with open(self.path("recipe"), "w"):  # both sides wait for each other here
                with open("/proc/%d/environ" % process.pid) as f:
                    variables = f.read().split("\0")
            process.kill()
            process.wait()
            self.assertEqual([v for v in variables if v.startswith("GOMP_SPINCOUNT=")], said)

    def test_a_folder_with_a_run_is_not_overwritten(self):
        recipe = self.recipe(RECIPE)
        self.call("train", recipe, "--out", self.path("run"), "--quiet", "--set", "epochs=1")
        self.assertIn("--resume", self.fails("train", recipe, "--out", self.path("run")))
        self.assertIn("optimizer.lr", self.fails("train", "--resume", self.path("run"), "--set", "optimizer.lr=1"))

    def test_files_that_are_not_a_runs_are_kept(self):
        os.makedirs(self.path("mine/notes.tmp-old"))
        with open(self.path("mine/recipe.yaml"), "w") as f:
            f.write("mine")
        said = self.fails("train", self.recipe(RECIPE), "--out", self.path("mine"))
        self.assertIn("expected a new or empty run folder, found notes.tmp-old", said)
        with open(self.path("mine/recipe.yaml")) as f:
            self.assertEqual(f.read(), "mine")

    def test_a_run_with_quoted_names_resumes(self):
        names = 'quantizer: {name: NaiveQuantizer, config_list: [{quant_types: [weight], quant_bits: 8, op_names: [conv1, "1*"]}]}\n'
        run = self.path("run")
        self.call("train", self.recipe(RECIPE + names), "--out", run, "--quiet", "--set", "epochs=1")
        self.call("train", "--resume", run, "--quiet", "--set", "epochs=2")

    def test_runs_without_out_take_folders_of_their_own_and_failures_none(self):
        recipe = self.recipe(RECIPE.replace("epochs: 2", "epochs: 1"))
        two = [subprocess.Popen([HALFTONE, "train", recipe, "--quiet", "--set", "seed=%d" % n], cwd=self.path(""),
                                stdout=subprocess.DEVNULL) for n in range(2)]
        self.assertEqual([p.wait() for p in two], [0, 0])
        self.assertEqual(sorted(os.listdir(self.path("runs"))), ["small-1", "small-2"])
        subprocess.run([HALFTONE, "train", recipe, "--set", "data.name=mnist", "--set", "data.dir=/nowhere"],
                       cwd=self.path(""), stderr=subprocess.DEVNULL)
        self.assertEqual(sorted(os.listdir(self.path("runs"))), ["small-1", "small-2"])

    def test_import_takes_what_the_network_takes(self):
        out = self.path("vgg")
        self.call("train", self.recipe("{epochs: 1, batch_size: 10, model: {name: bnn_vgg, variant: pool_last}, "
                                       "data: {name: generated-colour, train_samples: 10, test_samples: 10}}"),
                  "--out", self.path("run"), "--quiet")
        self.call("import", self.path("run/model.safetensors"), "--model", "bnn_vgg", "--set", "model.variant=pool_last",
                  "--set", "data.name=generated-colour", "--out", out)
        self.assertIn("was trained", self.fails("train", "--resume", out))
        self.assertIn("expected --model", self.fails("import", self.path("run/model.safetensors"), "--model", "bnn_vgg",
                                                     "--set", "model.name=lenet5"))

    def test_options_that_would_do_nothing_are_refused(self):
        self.assertIn("--resume beside it", self.fails("train", self.recipe(RECIPE), "--allow-other-threads"))
        run = self.float_run()
        weights = run + "/model.safetensors"
        self.assertIn("--clipped or --folds", self.fails("inspect", run, "--data", self.path("")))
        for command in ["export", "verify"]:
            self.assertIn("%s: expected a run: its folder, or its checkpoint" % command, self.fails(command, weights))

    def test_a_loss_that_is_not_finite_names_step_and_layer(self):
        said = self.fails("train", self.recipe(RECIPE), "--quiet", "--out", self.path("nan"), "--set", "optimizer.name=SGD",
                          "--set", "optimizer.lr=100000", "--set", "model.variant=plain")
        self.assertIn("at step", said)
        self.assertRegex(said, r"Conv2d|Linear|cross_entropy")

    def test_damaged_checkpoints_are_refused(self):
        self.call("train", self.recipe(RECIPE), "--out", self.path("run"), "--quiet", "--set", "epochs=1")
        path = self.path("run/checkpoint.safetensors")
        with open(path, "rb") as f:
            good = f.read()
        for bad in [good[:-7], good[:100], b"", good.replace(b"halftone_checkpoint", b"halftone_checkpoimt")]:
            with open(path, "wb") as f:
                f.write(bad)
            self.assertIn("checkpoint.safetensors", self.fails("train", "--resume", self.path("run")))

    def test_what_is_no_run_folder_is_said(self):
        nowhere = self.fails("train", "--resume", self.path("nowhere"))
        self.assertIn("expected the folder of a run, with its checkpoint.safetensors, found nothing there", nowhere)
        empty = self.path("empty")
        os.makedirs(empty)
        for command in [("train", "--resume"), ("eval",), ("inspect",), ("quantize", "--config", self.config())]:
            self.assertIn("found a folder without", self.fails(*command, empty))

    def test_weights_of_another_model_are_listed(self):
        self.call("train", self.recipe(RECIPE), "--out", self.path("run"), "--quiet", "--set", "epochs=1")
        other = self.recipe(RECIPE.replace("lenet5", "nni_mnist"), "other.yaml")
        said = self.fails("eval", self.path("run/model.safetensors"), "--recipe", other)
        self.assertIn("unexpected: bn1.bias", said)
        self.assertIn("conv1.weight [6, 1, 5, 5] instead of [20, 1, 5, 5]", said)


if __name__ == "__main__":
    tool_case.main()
