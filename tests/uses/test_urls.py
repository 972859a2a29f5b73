"""Images at web addresses: fetched where it was allowed, within limits, and never from a private network."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from pellucid.cli.main import run
from pellucid.images.decode import Unreadable
from pellucid.uses import urls
from pellucid.uses.inputs import expand_inputs
from pellucid.uses.predict import Failure, Prediction, predict_stream
from pellucid.uses.urls import Address, is_public
from tests.brightness import classifier, save

Answer = Callable[[BaseHTTPRequestHandler], None]


def whole(content: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in ({"Content_Length": str(len(content))} | headers).items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(content)

    return answer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, Answer], list[str]]]:
    """Its address, its pages by path, and what it was asked for. 127.0.0.1 is public here, and nothing else."""
    pages: dict[str, Answer] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            pages.get(self.path, whole(b"", 404))(self)

        def log_message(self, *_: Any) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    monkeypatch.setattr(urls, "is_public", lambda address: str(address) == "127.0.0.1")
    yield f"http://127.0.0.1:{served.server_port}", pages, asked
    served.shutdown()
    served.server_close()


def refused(address: str) -> str:
    with pytest.raises(Unreadable) as unreadable:
        Address(address).read()
    assert unreadable.value.name == address
    return unreadable.value.reason


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *(
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
        ),
        *("64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:db8::1"),
    ],
)
def test_no_address_of_this_machine_or_its_network_is_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_of_the_world_are(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
def test_whatever_a_private_address_is_written_like_nobody_connects_to_it(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("it was connected to"))
    assert refused(f"http://{host}:8000/a.jpg") in (
        "its server is in a private network",
        "no server of that name is known",  # some systems do not know that spelling
    )


def test_the_address_that_was_judged_is_the_one_that_is_connected_to(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server may give a public address first, and a private one when it is asked again."""
    address, pages, _ = server
    port = int(address.rpartition(":")[2])
    answers = iter(["127.0.0.1", "10.0.0.1"])
    real = socket.getaddrinfo

    def resolved(host: str, *rest: Any, **named: Any) -> Any:
        return real(next(answers) if host == "images.example" else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    pages["/a.png"] = whole(b"content")
    assert Address(f"http://images.example:{port}/a.png").read() == b"content"
    assert refused(f"http://images.example:{port}/a.png") == "its server is in a private network"


def test_a_redirect_is_followed_and_judged_like_any_address(server: Any) -> None:
    address, pages, asked = server
    pages["/a.png"] = whole(b"content")
    pages["/moved"] = whole(b"", 302, Location="/a.png")
    pages["/inwards"] = whole(b"", 302, Location="http://127.0.0.2/a.png")
    pages["/file"] = whole(b"", 302, Location="file:///etc/passwd")
    pages["/round"] = whole(b"", 301, Location="/round")
    assert Address(f"{address}/moved").read() == b"content"
    assert refused(f"{address}/inwards") == "its server is in a private network"
    assert refused(f"{address}/file") == "redirected to what is no web address: file:///etc/passwd"
    asked.clear()
    assert refused(f"{address}/round") == "redirected too often"
    assert len(asked) == 1 + urls.REDIRECTS


def test_what_a_server_refuses_or_garbles_is_told(server: Any) -> None:
    address, pages, _ = server
    pages["/secret"] = whole(b"", 403)
    pages["/packed"] = whole(b"x", Content_Encoding="gzip")
    pages["/cut"] = whole(b"x", Content_Length="5")
    pages["/noise"] = lambda request: request.wfile.write(b"what?\r\n")
    assert refused(f"{address}/gone") == "the server answered 404 Not Found"
    assert refused(f"{address}/secret") == "the server answered 403 Forbidden"
    assert refused(f"{address}/packed") == "sent compressed, as nobody asked"
    assert "ended before" in refused(f"{address}/cut") or "understood" in refused(f"{address}/cut")
    assert refused(f"{address}/noise") == "the server's answer cannot be understood"
    assert refused("http://127.0.0.1:1/a.png").startswith("the server cannot be reached (")
    assert refused("http://user:word@127.0.0.1/a.png") == "an address with a password in it"


def test_size_is_limited_whatever_the_server_says_of_it(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address, pages, _ = server
    monkeypatch.setattr(urls, "LARGEST", 100_000)

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(10_000):
            request.wfile.write(b"x" * 10_000)

    pages["/endless"] = endless
    pages["/large"] = whole(b"x" * 200_000)
    pages["/claimed"] = whole(b"x", Content_Length="99999999999")
    for page in ("endless", "large", "claimed"):
        assert refused(f"{address}/{page}") == "too large: more than 100,000 bytes"


def test_time_is_limited_even_if_a_byte_comes_now_and_then(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address, pages, _ = server
    monkeypatch.setattr(urls, "SECONDS", 0.5)
    over = threading.Event()

    def dripping(request: BaseHTTPRequestHandler, start: bytes) -> None:
        request.wfile.write(start)
        while not over.wait(0.05):
            request.wfile.write(b"x")
            request.wfile.flush()

    pages["/image"] = lambda request: dripping(request, b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n")
    pages["/header"] = lambda request: dripping(request, b"HTTP/1.0 200 OK\r\nX: ")
    for page in ("image", "header"):
        began = time.monotonic()
        refused(f"{address}/{page}")
        assert time.monotonic() - began < 5
    over.set()


def test_addresses_are_images_like_others_where_it_is_allowed(server: Any, tmp_path: Path) -> None:
    address, pages, asked = server
    pages["/a%20b.png"] = whole(save(tmp_path / "a.png", 255).read_bytes())
    pages["/page"] = whole(b"<html>")
    (tmp_path / "list.csv").write_text(f"path\n{address}/a b.png\na.png\n")
    names = [f"{address}/a b.png", str(tmp_path / "list.csv"), f"{address}/page", "ftp://images.example/a.png"]
    model = classifier(tmp_path / "model")
    inputs = expand_inputs([*names, "-"], standard_input=[names[0]], allow_urls=True)
    said = [each.best if isinstance(each, Prediction) else each.error for each in predict_stream(model, inputs)]
    neither = "an address that is neither http nor https: download it and name the file"
    assert said == ["bright", "bright", "bright", "not an image", neither, "bright"]
    asked.clear()
    refusals = list(expand_inputs(names[:1], standard_input=[]))
    assert isinstance(refusals[0], Failure) and "--allow-urls" in refusals[0].error and asked == []


def test_the_flag_is_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", "--help"]) == 0
    assert "--allow-urls" in capsys.readouterr().out
