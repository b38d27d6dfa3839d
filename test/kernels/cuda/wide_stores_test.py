"""Kernels that walk an array store whole packs: what nvcc made of them, in PTX."""
import collections
import re
import subprocess
import sys
import unittest

# Ops that write numbers of channels only, some of them more than a pack has elements.
SUMS_ONLY = ("NormSumsOp", "SeeOp")
# A store of an element -> what stores a pack of them. Of 8 bytes: bfloat16 in columns of gradients, and what is
# loaded in twice the bytes (bfloat16 of float32, codes of bfloat16); of 4: codes of float32.
PACKS = {"f32": ("v4.b32",), "u16": ("v4.b32", "v2.b32"), "u8": ("v4.b32", "v2.b32", "b32")}
# Maps of float32 alone, and of bfloat16 alone: nothing narrower than 16 bytes will do.
FULL = ("FakeQuantizeOp", "SignOp", "DorefaWeightsOp", "DorefaActivationsOp")


def kernels(text):
    """{name: {instruction: how often}} of a PTX file's walks."""
    found, current = {}, None
    for line in text.splitlines():
        entry = re.search(r"\.entry (\w+)", line)
        if entry:
            current = found.setdefault(entry.group(1), collections.Counter())
        store = re.search(r"\bst\.global\.(\S+)", line)
        if store and current is not None:
            current[store.group(1)] += 1
    names = subprocess.run(["c++filt"], input="\n".join(found), stdout=subprocess.PIPE, text=True, check=True)
    named = dict(zip(names.stdout.splitlines(), found.values()))
    return {n.split(">(")[0]: s for n, s in named.items() if re.search(r"(Rows|Columns|Pieces)Body<", n)}


def narrow(name, stores):
    """What is wrong with a kernel's stores; "" when nothing is."""
    if any(op in name for op in SUMS_ONLY):
        return ""
    for element, packs in PACKS.items():
        if stores[element] < 4:
            continue  # a sum, or nothing
        wanted = packs[:1] if any("::%s<" % op in name for op in FULL) else packs
        if not any(stores[p] for p in wanted):
            return "%s: %d stores of %s, none of %s" % (name, stores[element], element, " or ".join(wanted))
    return ""


class WideStoresTest(unittest.TestCase):
    def test_every_walk_stores_whole_packs(self):
        count, found = 0, []
        for path in sys.argv[1:]:
            with open(path) as f:
                walks = kernels(f.read())
            count += len(walks)
            found += filter(None, (narrow(*walk) for walk in walks.items()))
        self.assertEqual(found, [])
        self.assertGreater(count, 100)

    def test_a_split_store_is_found(self):
        split = collections.Counter({"f32": 12})
        self.assertIn("none of v4.b32", narrow("RowsBody<halftone::FakeQuantizeOp<float> >", split))
        self.assertEqual(narrow("RowsBody<halftone::ScaleGradientOp<float> >", collections.Counter({"f32": 2})), "")


if __name__ == "__main__":
    result = unittest.main(argv=sys.argv[:1], exit=False).result
    bad = len(result.failures) + len(result.errors)
    sys.stdout.flush()
    print("halftone-tests: %d passed, %d failed, 0 skipped" % (result.testsRun - bad, bad))
    sys.exit(bad != 0)
