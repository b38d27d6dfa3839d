"""tools/get_data against a server on 127.0.0.1 with planted faults."""
import contextlib
import gzip
import hashlib
import http.server
import io
import os
import resource
import tarfile
import tempfile
import threading
import unittest

import tool_case

get_data = tool_case.load("get_data")

PLAIN = {"images": bytes(range(256)) * 2000, "labels": os.urandom(3000)}
PACKED = {n: gzip.compress(d, 1) for n, d in PLAIN.items()}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def md5(data):
    return hashlib.md5(data).hexdigest()


def make_tar(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


BATCHES = {"b/one.bin": os.urandom(2000), "b/two.bin": os.urandom(2000), "b/notes.html": b"no"}
TAR = make_tar(dict(BATCHES, **{"../../evil.bin": b"evil"}))


class Handler(http.server.BaseHTTPRequestHandler):
    """/MODE/FILE: good, wrong, 404, cut (stops half-way), cutonce, babble (no HTTP)."""

    def do_GET(self):
        _, mode, name = self.path.split("/")
        server = self.server
        server.log.append((mode, name, self.headers.get("Range")))
        body = server.files.get(name)
        if mode == "404" or body is None:
            self.send_error(404, "no such file")
            return
        if mode == "babble":
            self.wfile.write(b"\x1b[31mno status line\r\n\r\n")
            return
        if mode == "wrong":
            body = b"x" * len(body)
        start = 0
        span = self.headers.get("Range")
        if span and mode != "norange":
            start = int(span[len("bytes="):-1])
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", "bytes %d-%d/%d" % (start, len(body) - 1, len(body)))
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        cut = mode == "cut" or (mode == "cutonce" and name not in server.cut)
        server.cut.add(name)
        end = start + (len(body) - start) // 2 if cut else len(body)
        self.wfile.write(body[start:end])

    def log_message(self, *args):
        pass


class GetDataTest(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(self.temp.cleanup)
        self.dir = os.path.join(self.temp.name, "data")
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.files = {n + ".gz": d for n, d in PACKED.items()}
        self.server.files["b.tar.gz"] = TAR
        self.server.log, self.server.cut = [], set()
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.base = "http://127.0.0.1:%d/" % self.server.server_address[1]
        idx = [get_data.Idx(n, md5(PACKED[n]), len(d), sha256(d)) for n, d in PLAIN.items()]
        unsummed = [get_data.Idx(n, md5(PACKED[n]), len(d)) for n, d in PLAIN.items()]
        tar = get_data.Tar("b.tar.gz", md5(TAR), "b", {"one.bin": 2000, "two.bin": None})
        get_data.SETS = {"idx": get_data.DataSet([], idx), "tar": get_data.DataSet([], [tar]),
                         "unsummed": get_data.DataSet([], unsummed)}

    def run_tool(self, *modes, name="idx", extra=(), folder=None):
        argv = [name, folder or self.dir, "--timeout", "5"] + list(extra)
        for mode in modes:
            argv += ["--mirror", mode if "://" in mode else self.base + mode]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = get_data.main(argv)
        self.output = out.getvalue() + err.getvalue()
        return code

    def path(self, name):
        return os.path.join(self.dir, name)

    def put(self, name, data):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as f:
            f.write(data)

    def assert_complete(self):
        self.assertEqual(sorted(os.listdir(self.dir)), [".sums", "images.gz", "labels.gz"])
        for n, d in PLAIN.items():
            with gzip.open(self.path(n + ".gz")) as f:
                self.assertEqual(f.read(), d)

    def test_good_download(self):
        self.assertEqual(self.run_tool("good"), 0, self.output)
        self.assert_complete()
        self.assertIn("complete and checked", self.output)

    def test_second_run_fetches_nothing(self):
        self.run_tool("good")
        self.server.log.clear()
        self.assertEqual(self.run_tool("good"), 0)
        self.assertEqual(self.server.log, [])

    def test_cut_then_resumed_in_one_run(self):
        self.assertEqual(self.run_tool("cutonce"), 0, self.output)
        self.assert_complete()
        half = len(PACKED["images"]) // 2
        self.assertIn(("cutonce", "images.gz", "bytes=%d-" % half), self.server.log)

    def test_cut_then_resumed_by_the_next_run(self):
        self.assertEqual(self.run_tool("cut", extra=["--tries", "1"]), 1)
        self.assertIn("cut off after", self.output)
        self.assertIn("images.gz.part", os.listdir(self.dir))
        self.assertNotIn("images.gz", os.listdir(self.dir))
        self.server.log.clear()
        self.assertEqual(self.run_tool("good"), 0, self.output)
        self.assert_complete()
        self.assertTrue(all(span for _, _, span in self.server.log))

    def test_server_without_ranges_restarts(self):
        self.put("images.gz.part", PACKED["images"][:100])
        self.assertEqual(self.run_tool("norange"), 0, self.output)
        self.assert_complete()

    def test_bad_part_is_dropped_and_fetched_anew(self):
        self.put("images.gz.part", b"rubbish")
        self.assertEqual(self.run_tool("good", extra=["--tries", "1"]), 0, self.output)
        self.assert_complete()

    def test_part_that_is_already_whole(self):
        self.put("images.gz.part", PACKED["images"])
        self.assertEqual(self.run_tool("good"), 0, self.output)
        self.assert_complete()

    def test_wrong_bytes(self):
        self.assertEqual(self.run_tool("wrong"), 1)
        self.assertEqual(self.server.log[0][1], "images.gz")
        self.assertFalse(os.path.exists(self.dir), "nothing may be left")

    def test_wrong_bytes_say_expected_and_found(self):
        self.assertEqual(self.run_tool("wrong", name="unsummed"), 1)
        self.assertIn("expected md5 " + md5(PACKED["images"]), self.output)
        self.assertIn("found " + md5(b"x" * len(PACKED["images"])), self.output)

    def test_404_then_second_mirror(self):
        self.assertEqual(self.run_tool("404", "good"), 0, self.output)
        self.assert_complete()

    def test_wrong_then_second_mirror(self):
        self.assertEqual(self.run_tool("wrong", "good"), 0, self.output)
        self.assert_complete()

    def test_404_everywhere_is_one_line_and_names_the_fix(self):
        self.assertEqual(self.run_tool("404"), 1)
        last = self.output.strip().splitlines()[-1]
        self.assertIn("HTTP 404", last)
        self.assertIn("How to fix", last)

    def test_no_network_stops_at_the_first_file(self):
        self.server.shutdown()
        self.server.server_close()
        self.assertEqual(self.run_tool("good"), 1)
        self.assertEqual(len(self.output.strip().splitlines()), 1, self.output)
        self.assertIn("Connection refused", self.output)

    def refused(self, *extra):
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as err:
            get_data.main(["idx", self.dir] + list(extra))
        return err.getvalue()

    def test_arguments_that_make_no_sense(self):
        for url in ["foo", "http://[::bad/", ""]:
            self.assertIn("expected a URL of a folder", self.refused("--mirror", url))
        for number in ["-1", "0", "nan", "x"]:
            self.assertIn("expected a number above 0", self.refused("--timeout", number))
        self.assertIn("expected a number above 0", self.refused("--tries", "0"))

    def test_damaged_sums(self):
        for text in [b"\xff\xfe\n", b"12  images\n", b"\n"]:
            self.put(".sums", text)
            self.assertEqual(self.run_tool("good"), 1)
            self.assertIn(".sums: expected lines 'sha256  file'", self.output)
            self.assertEqual(len(self.output.splitlines()), 1, self.output)

    def test_unwritable_folder(self):
        self.put("plain_file", b"")
        folder = self.path("plain_file/under")
        self.assertEqual(self.run_tool("good", folder=folder), 1)
        self.assertIn("cannot write there", self.output)
        self.assertEqual(self.server.log, [])

    def test_what_is_no_http_is_not_printed(self):
        self.assertEqual(self.run_tool("babble"), 1)
        self.assertIn("no valid HTTP answer (BadStatusLine)", self.output)
        self.assertNotIn("no status line", self.output)

    def test_a_folder_where_a_file_belongs_is_no_full_disk(self):
        os.makedirs(self.path(".sums"))
        self.assertEqual(self.run_tool("good"), 1)
        self.assertIn(".sums: Is a directory. How to fix: put right what is there", self.output)

    def test_disk_full_keeps_the_part(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.server.files["images.gz"] = PACKED["images"] + os.urandom(300000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100000, hard))
        try:
            self.assertEqual(self.run_tool("good"), 1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        self.assertIn("free some space", self.output)
        self.assertNotIn("images.gz", os.listdir(self.dir))
        self.assertEqual(os.path.getsize(self.path("images.gz.part")), 100000)

    def test_present_and_good_plain_or_packed(self):
        self.put("images", PLAIN["images"])
        self.put("labels.gz", gzip.compress(PLAIN["labels"], 9))  # another packing, same data
        self.assertEqual(self.run_tool("good"), 0, self.output)
        self.assertEqual(self.server.log, [])

    def test_present_and_corrupt_is_replaced(self):
        self.run_tool("good")
        self.put("labels.gz", gzip.compress(b"y" * 3000))
        self.server.log.clear()
        self.assertEqual(self.run_tool("good"), 0, self.output)
        self.assert_complete()
        self.assertEqual([n for _, n, _ in self.server.log], ["labels.gz"])
        self.assertIn("expected sha256", self.output)

    def test_corrupt_plain_file_is_set_aside(self):
        self.run_tool("good")
        self.put("labels", b"short")
        self.assertEqual(self.run_tool("good"), 0, self.output)
        self.assertTrue(os.path.exists(self.path("labels.corrupt")))
        self.assertFalse(os.path.exists(self.path("labels")))

    def test_check_reports_and_downloads_nothing(self):
        self.assertEqual(self.run_tool(extra=["--check"]), 1)
        self.run_tool("good")
        self.assertEqual(self.run_tool(extra=["--check"]), 0)
        self.put("images.gz", PACKED["images"][:-20])
        self.assertEqual(self.run_tool(extra=["--check"]), 1)
        self.assertIn("images.gz: cannot be read", self.output)

    def test_tar_is_unpacked_and_its_sums_recorded(self):
        self.assertEqual(self.run_tool("good", name="tar"), 0, self.output)
        self.assertEqual(sorted(os.listdir(self.path("b"))), ["one.bin", "two.bin"])
        for folder in [self.dir, self.temp.name, os.path.dirname(self.temp.name)]:
            self.assertFalse(os.path.exists(os.path.join(folder, "evil.bin")))
        with open(self.path(".sums")) as f:
            self.assertIn("%s  b/one.bin\n" % sha256(BATCHES["b/one.bin"]), f.read())

    def test_recorded_sums_find_later_damage(self):
        self.run_tool("good", name="tar")
        self.put("b/one.bin", b"z" * 2000)
        self.assertEqual(self.run_tool(name="tar", extra=["--check"]), 1)
        self.assertIn("expected sha256", self.output)
        self.assertEqual(self.run_tool("good", name="tar"), 0, self.output)


if __name__ == "__main__":
    tool_case.main()
