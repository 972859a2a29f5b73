"""Published weights over HTTP, from a server on this machine: fetched once, checked, kept, and told plainly."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy
import pytest
import torch
from safetensors.torch import save

import pellucid as pl
from pellucid.errors import UserError
from pellucid.weights.fetching import fetch
from tests.shared import shared


class Shelf(ThreadingHTTPServer):
    """Files by path, as a plain server gives them and as the model hub does; `asked` notes every request."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), Clerk)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Clerk(BaseHTTPRequestHandler):
    server: Shelf

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.server.asked.append((self.command, self.path))
        content = self.server.files.get(self.path)
        self.send_response(404 if content is None else 200)
        content = content or b""
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", hashlib.sha256(content).hexdigest())
        self.send_header("X-Repo-Commit", "0" * 40)  # what the hub's client wants to see
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    server = Shelf()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    before = torch.hub.get_dir()
    torch.hub.set_dir(tmp_path / "cache")
    yield tmp_path / "cache"
    torch.hub.set_dir(before)


def checkpoint() -> bytes:
    file = BytesIO()
    torch.save({"weight": torch.arange(6.0)}, file)
    return file.getvalue()


def test_a_published_file_is_fetched_once_and_checked(
    shelf: Shelf, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = checkpoint()
    path = f"/resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    shelf.files[path] = content
    for _ in range(2):
        assert torch.equal(fetch(shelf.url + path, "resnet18")["weight"], torch.arange(6.0))
    assert shelf.asked == [("GET", path)] and capsys.readouterr() == ("", "")
    assert (cache / "checkpoints" / path[1:]).read_bytes() == content


def test_a_damaged_file_is_refused_and_not_kept(shelf: Shelf, cache: Path) -> None:
    content = checkpoint()
    path = f"/resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    shelf.files[path] = content[:-1] + b"?"
    with pytest.raises(UserError, match="arrived damaged"):
        fetch(shelf.url + path, "resnet18")
    assert not list((cache / "checkpoints").iterdir())


def test_a_server_that_is_not_there_or_does_not_know_the_file_is_told(shelf: Shelf, cache: Path) -> None:
    with pytest.raises(UserError, match="cannot be fetched") as caught:
        fetch(f"{shelf.url}/missing-00000000.pth", "resnet18")
    assert "404" in str(caught.value) and str(cache) in str(caught.value)
    assert "--weights FILE" in caught.value.hint
    with pytest.raises(UserError, match="cannot be fetched"):
        fetch("http://127.0.0.1:9/resnet18-00000000.pth", "resnet18")  # nobody listens there


FROM_THE_HUB = """
import json, sys
import torch
import pellucid as pl
from pellucid.errors import UserError
from pellucid.networks.published import published_weights
try:
    for _ in range(2):
        tensors, record = published_weights(pl.network("timm/mobilenetv2_100", 2))
    preprocessing = record.preprocessing
    print(json.dumps([float(tensors["classifier.bias"].sum()), preprocessing.size, preprocessing.interpolation]))
except UserError as error:
    print(json.dumps(str(error)))
"""


def asked_of_the_hub(endpoint: str, home: Path) -> object:
    """In a process of its own, since the hub's client reads where the hub is when it is imported."""
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FROM_THE_HUB], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    return json.loads(done.stdout)


def test_timms_weights_come_from_the_hub_once(shelf: Shelf, tmp_path: Path) -> None:
    net = pl.network("timm/mobilenetv2_100", 1000)
    state = {name.removeprefix("model."): tensor for name, tensor in net.state_dict().items()}
    state["classifier.bias"] = torch.full((1000,), 0.5)
    shelf.files["/timm/mobilenetv2_100.ra_in1k/resolve/main/model.safetensors"] = save(state)
    assert asked_of_the_hub(shelf.url, tmp_path) == [500.0, 224, "bicubic"]
    assert [path for method, path in shelf.asked if method == "GET" and path in shelf.files] == list(shelf.files)


def test_a_hub_that_cannot_be_reached_is_told_at_once(tmp_path: Path) -> None:
    told = str(asked_of_the_hub("http://127.0.0.1:9", tmp_path))
    assert "cannot be fetched" in told and str(tmp_path) in told and "weights=FILE" in told


@pytest.mark.slow
def test_real_weights_under_timms_names_recognise_real_photographs() -> None:
    """The weights' own README measured 78 % on 200 of these photographs: 71.8 to 83.2 %."""
    import csv

    from pellucid.images.decode import open_image
    from pellucid.images.preprocessing import prepare
    from pellucid.networks.published import default_preprocessing

    folder = shared("data/imagenet-sample")
    net = pl.network("timm/mobilenetv2_100", 1000).eval()
    report = pl.load_weights(net, shared("data/weights/mobilenetv2_100_imagenet.timm.safetensors"))
    assert not report.left_random
    wanted = default_preprocessing("timm/mobilenetv2_100", size=224)
    rows = list(csv.DictReader((folder / "labels.csv").read_text().splitlines()))[:200]
    right = 0
    for start in range(0, len(rows), 40):
        part = rows[start : start + 40]
        images = [prepare(open_image(folder / row["file"]), wanted) for row in part]
        with torch.inference_mode():
            said = net(torch.from_numpy(numpy.stack(images))).argmax(dim=1)
        right += sum(int(row["index"]) == int(index) for row, index in zip(part, said, strict=True))
    assert 0.718 <= right / len(rows) <= 0.832
