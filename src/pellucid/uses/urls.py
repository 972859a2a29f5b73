"""Images at addresses (http, https), for whoever allows it: what is fetched is limited in size, time and place.

No private address is asked, whatever a name or a redirect leads to: a list of images from somebody else must not reach
into the network that we are in. The address that was judged is the one that is connected to.
"""

import http.client
import socket
import ssl
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from threading import Timer
from time import monotonic
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from pellucid.images.decode import Unreadable
from pellucid.names import in_a_line
from pellucid.uses.predict import Elsewhere

SECONDS = 20.0  # for an image, redirects and all
LARGEST = 1 << 26  # bytes of one
REDIRECTS = 5
PIECE = 1 << 16
KEPT = "/%:@!$&'()*+,;=~-._?"  # signs of an address that are sent as they are
TRANSLATED = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))  # IPv4 behind NAT64: RFC 6052, RFC 8215
AGAIN = (301, 302, 303, 307, 308)


class Address(Elsewhere):
    """An image at an http or https address, fetched once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._content: bytes | None = None

    def read(self) -> bytes:
        try:
            self._content = self._content if self._content is not None else _fetched(self.name)
            return self._content
        except (http.client.HTTPException, OSError, ValueError) as cause:  # UnicodeError is a ValueError
            raise Unreadable(self.name, _reason(cause)) from cause


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether everybody may ask it: neither this machine, nor its network, nor what a tunnel makes of those."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and (int(address) >> 32 == 0 or any(address in network for network in TRANSLATED)):
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


def _fetched(name: str) -> bytes:
    until, here = monotonic() + SECONDS, name
    for _ in range(REDIRECTS + 1):
        parts = urlsplit(here)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            if here == name:
                raise Unreadable(name, "no web address that names a server")
            raise Unreadable(name, f"redirected to what is no web address: {in_a_line(here)}")
        if parts.username or parts.password:
            raise Unreadable(name, "an address with a password in it")
        content, there = _asked(name, parts, until)
        if not there:
            return content
        before, here = parts.scheme, urljoin(here, there)
        if before == "https" and not here.startswith("https:"):
            raise Unreadable(name, "redirected from https to where nothing is encrypted")
    raise Unreadable(name, "redirected too often")


def _asked(name: str, parts: SplitResult, until: float) -> tuple[bytes, str]:
    """What the server gives: the image, or where else to ask."""
    assert parts.hostname
    secure = parts.scheme == "https"
    connection = _Connection(parts.hostname, parts.port or (443 if secure else 80), name, until, secure=secure)
    try:
        target = quote(parts.path or "/", safe=KEPT) + (f"?{quote(parts.query, safe=KEPT)}" if parts.query else "")
        connection.request("GET", target, headers={"User-Agent": "pellucid", "Accept": "image/*,*/*;q=0.5"})
        answer = connection.getresponse()
        if answer.status in AGAIN and (there := answer.getheader("Location")):
            return b"", there
        if answer.status != 200:
            raise Unreadable(name, f"the server answered {answer.status} {in_a_line(answer.reason)}".strip())
        if answer.getheader("Content-Encoding", "identity") != "identity":
            raise Unreadable(name, "sent compressed, as nobody asked")
        return _content(name, answer, until), ""
    finally:
        connection.end()


def _content(name: str, answer: http.client.HTTPResponse, until: float) -> bytes:
    wanted, pieces, size = answer.length, list[bytes](), 0
    while piece := answer.read(PIECE):
        pieces.append(piece)
        size += len(piece)
        if max(size, wanted or 0) > LARGEST:
            raise Unreadable(name, f"too large: more than {LARGEST:,} bytes")
    if monotonic() >= until:
        raise TimeoutError
    if wanted is not None and size < wanted:
        raise Unreadable(name, "the connection ended before the image did")
    return b"".join(pieces)


class _Connection(http.client.HTTPConnection):
    """To the address that was judged, which the system is not asked for again, and no longer than `until`."""

    def __init__(self, host: str, port: int, name: str, until: float, *, secure: bool) -> None:
        super().__init__(host, port)
        self.default_port = 443 if secure else 80  # type: ignore[misc]
        self._name, self._until, self._secure = name, until, secure
        self._timer: Timer | None = None
        self._held: socket.socket | None = None  # `sock` is forgotten as soon as an answer begins

    def connect(self) -> None:
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        places = [str(each[4][0]) for each in found]
        if not places or not all(is_public(ip_address(place.partition("%")[0])) for place in places):
            raise Unreadable(self._name, "its server is in a private network")
        left = self._until - monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock = socket.create_connection((places[0], self.port), timeout=left)
        self._held = self.sock
        # A server that sends a byte now and then would never run into a timeout.
        self._timer = Timer(left, self._stop)
        self._timer.daemon = True
        self._timer.start()
        if self._secure:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
            self._held = self.sock
            self.sock.do_handshake()

    def end(self) -> None:
        """Close it for good; `close` is called as soon as an answer begins."""
        if self._timer:
            self._timer.cancel()
        self.close()

    def _stop(self) -> None:
        with suppress(OSError, ValueError):  # it has ended by itself
            if self._held:
                self._held.shutdown(socket.SHUT_RDWR)


def _reason(cause: Exception) -> str:
    if isinstance(cause, TimeoutError):
        return f"the server took longer than {SECONDS:.0f} seconds"
    if isinstance(cause, socket.gaierror):
        return "no server of that name is known"
    if isinstance(cause, ssl.SSLError):
        return "the server could not prove who it is"
    if isinstance(cause, OSError) and cause.strerror:
        return f"the server cannot be reached ({cause.strerror})"
    if isinstance(cause, http.client.HTTPException):
        return "the server's answer cannot be understood"
    return "not an address that can be asked"
