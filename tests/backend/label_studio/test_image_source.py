"""Images are read from wherever tasks keep them, and the token of Label Studio goes to Label Studio alone."""

import base64
import gzip
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.image_source import ImageSource
from captionloop.errors import ImageError
from captionloop.hosts import Hosts

THIS_MACHINE = Hosts.parse("127.0.0.1")
TOKEN = "0123456789abcdef0123456789abcdef01234567"
PICTURE = b"\x89PNG not really, but bytes are bytes here"

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Host:
    """A small HTTP server: what it answers by path, and what it was asked."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def send(self, path: str, body: bytes = PICTURE, *, status: int = 200, **headers: str) -> str:
        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            for name, value in {"Content-Type": "image/png", "Content-Length": str(len(body))}.items():
                request.send_header(name, headers.get(name.replace("-", "_"), value))
            for name in ("Location", "Content-Range", "Content-Encoding"):
                if (given := headers.get(name.replace("-", "_"))) is not None:
                    request.send_header(name, given)
            request.end_headers()
            request.wfile.write(body)

        return self.answer(path, answer)

    def redirect(self, path: str, to: str) -> str:
        return self.send(path, b"", status=302, Location=to)

    def answer(self, path: str, answer: Answer) -> str:
        self.answers[path] = answer
        return self.url + path

    def tokens(self) -> list[str | None]:
        return [authorization for _, authorization in self.asked]


@pytest.fixture
def make_host() -> Iterator[Callable[[], Host]]:
    servers: list[ThreadingHTTPServer] = []

    def make() -> Host:
        host = Host()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append((self.path, self.headers.get("Authorization")))
                answer = host.answers.get(self.path.split("?")[0])
                if answer is None:
                    self.send_error(404)
                else:
                    answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        host.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return host

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def host(make_host: Callable[[], Host]) -> Host:
    """Somebody's web server."""
    return make_host()


@pytest.fixture
def label_studio_host(make_host: Callable[[], Host]) -> Host:
    """What stands where Label Studio should be."""
    return make_host()


@pytest.fixture
def source(label_studio_host: Host) -> Iterator[ImageSource]:
    yield from _source(LabelStudio(label_studio_host.url, TOKEN))


@pytest.fixture
def source_below_a_path(label_studio_host: Host) -> Iterator[ImageSource]:
    yield from _source(LabelStudio(label_studio_host.url + "/tools/ls", TOKEN))


def _source(label_studio: LabelStudio | None, allowed: Hosts = THIS_MACHINE, **limits: float) -> Iterator[ImageSource]:
    made = ImageSource(label_studio, allowed=allowed, max_bytes=1000, **limits)
    yield made
    made.close()


def failure(source: ImageSource, value: str) -> str:
    with pytest.raises(ImageError) as caught:
        source.read(value, task_id=7)
    return str(caught.value)


class TestHttp:
    def test_an_image_is_fetched(self, source: ImageSource, host: Host) -> None:
        assert source.read(host.send("/a.png"), task_id=7) == PICTURE

    def test_a_stranger_gets_no_token(self, source: ImageSource, host: Host) -> None:
        source.read(host.send("/data/upload/1/a.png"), task_id=7)
        assert host.tokens() == [None]

    def test_redirects_are_followed(self, source: ImageSource, host: Host) -> None:
        host.send("/b.png")
        assert source.read(host.redirect("/a.png", "/b.png"), task_id=7) == PICTURE

    def test_endless_redirects_end(self, source: ImageSource, host: Host) -> None:
        assert "redirected more than 5 times" in failure(source, host.redirect("/a.png", "/a.png"))

    @pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://x.test/a.png", "s3://bucket/a.png"])
    def test_a_redirect_leads_to_http_only(self, source: ImageSource, host: Host, target: str) -> None:
        assert "which is not http(s)" in failure(source, host.redirect("/a.png", target))

    def test_an_announced_size_over_the_limit_is_refused(self, source: ImageSource, host: Host) -> None:
        message = failure(source, host.send("/a.png", b"x" * 1001))
        assert "more than 1,000 bytes" in message
        assert "CAPTIONLOOP_MAX_IMAGE_MB" in message

    def test_a_body_over_the_limit_is_cut_off(self, source: ImageSource, host: Host) -> None:
        def endless(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.end_headers()
            try:
                while True:
                    request.wfile.write(b"x" * 500)
            except OSError:
                pass

        assert "more than 1,000 bytes" in failure(source, host.answer("/a.png", endless))

    def test_a_trickle_is_given_up(self, host: Host) -> None:
        def trickle(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.end_headers()
            try:
                for _ in range(500):
                    request.wfile.write(b"x")
                    time.sleep(0.05)
            except OSError:
                pass

        for source in _source(None, max_seconds=0.5):
            started = time.monotonic()
            assert "took longer than 0.5 seconds" in failure(source, host.answer("/a.png", trickle))
            assert time.monotonic() - started < 10

    def test_a_trickle_of_headers_is_given_up(self, host: Host) -> None:
        def trickle(request: BaseHTTPRequestHandler) -> None:
            try:
                for _ in range(500):
                    request.wfile.write(b"H")
                    time.sleep(0.05)
            except OSError:
                pass

        for source in _source(None, max_seconds=0.5):
            started = time.monotonic()
            assert "took longer than 0.5 seconds" in failure(source, host.answer("/a.png", trickle))
            assert time.monotonic() - started < 10

    def test_a_body_cut_short_is_noticed(self, source: ImageSource, host: Host) -> None:
        assert "cannot be reached" in failure(source, host.send("/a.png", Content_Length="500"))

    @pytest.mark.parametrize(
        ("status", "remedy"),
        [
            (401, "It wants a login, which is only given to the Label Studio at LABEL_STUDIO_URL"),
            (403, "a rule against hot-linking"),
            (404, "The image is gone"),
            (410, "The image is gone"),
            (500, "Try again later"),
            (206, "status 206"),
        ],
    )
    def test_a_failure_names_the_status_and_what_to_do(
        self, source: ImageSource, host: Host, status: int, remedy: str
    ) -> None:
        message = failure(source, host.send("/a.png", status=status))
        assert f"answered with status {status}" in message
        assert remedy in message

    @pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "image/png", "application/octet-stream"])
    @pytest.mark.parametrize(
        "page", [b"<html>", b"\n <!DOCTYPE html>\n<title>Login", b"\xef\xbb\xbf<!-- made by -->", b"<HEAD lang=en>"]
    )
    def test_a_login_page_is_no_image(self, source: ImageSource, host: Host, page: bytes, content_type: str) -> None:
        assert "a web page, perhaps a login" in failure(source, host.send("/a.png", page, Content_Type=content_type))

    @pytest.mark.parametrize("content_type", ["text/html", "text/plain", "application/json", ""])
    def test_an_image_is_known_by_its_bytes(self, source: ImageSource, host: Host, content_type: str) -> None:
        assert source.read(host.send("/a.png", Content_Type=content_type), task_id=7) == PICTURE

    def test_a_whole_file_may_be_called_a_range(self, source: ImageSource, host: Host) -> None:
        last = len(PICTURE) - 1
        sent = host.send("/a.png", status=206, Content_Range=f"bytes 0-{last}/{last + 1}")
        assert source.read(sent, task_id=7) == PICTURE

    @pytest.mark.parametrize("part", ["bytes 0-9/44", "bytes 5-43/44", "bytes 0-43/*", "bytes */44", "pages 0-43/44"])
    def test_a_part_of_a_file_is_no_image(self, source: ImageSource, host: Host, part: str) -> None:
        assert "a part of the image" in failure(source, host.send("/a.png", status=206, Content_Range=part))

    @pytest.mark.parametrize("coding", ["gzip", "gzip, gzip", "br", "zstd", "deflate, identity"])
    def test_a_packed_answer_is_not_unpacked(self, source: ImageSource, host: Host, coding: str) -> None:
        bomb = gzip.compress(gzip.compress(bytes(10_000_000)))
        assert f"sent it packed ({coding})" in failure(source, host.send("/a.png", bomb, Content_Encoding=coding))

    def test_identity_is_no_packing(self, source: ImageSource, host: Host) -> None:
        assert source.read(host.send("/a.png", Content_Encoding="identity"), task_id=7) == PICTURE

    def test_interim_answers_without_end_are_given_up(self, host: Host) -> None:
        def hints(request: BaseHTTPRequestHandler) -> None:
            try:
                for _ in range(2000):
                    request.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
                    time.sleep(0.005)
            except OSError:
                pass

        for source in _source(None, max_seconds=0.5):
            started = time.monotonic()
            assert "took longer than 0.5 seconds" in failure(source, host.answer("/a.png", hints))
            assert time.monotonic() - started < 8

    def test_an_empty_file_is_no_image(self, source: ImageSource, host: Host) -> None:
        assert "it is empty" in failure(source, host.send("/a.png", b""))

    def test_a_server_that_is_not_there(self, source: ImageSource) -> None:
        assert "cannot be reached" in failure(source, "http://127.0.0.1:9/a.png")

    @pytest.mark.parametrize("value", ["http://", "http://[::1/a.png", "http://a b/c.png", "https://x.test:port/a.png"])
    def test_an_address_that_is_none(self, source: ImageSource, value: str) -> None:
        assert failure(source, value).startswith("Image http")

    def test_the_message_names_the_address_but_no_secrets(self, source: ImageSource, host: Host) -> None:
        address = host.url.replace("://", "://user:pass@") + "/a.png?X-Amz-Signature=abc"
        message = failure(source, address)
        assert message.startswith(f"Image {host.url}/a.png?…: ")
        assert "pass" not in message
        assert "abc" not in message


class TestLabelStudio:
    @pytest.mark.parametrize(
        "value",
        [
            "/data/upload/1/a.png",
            "/data/local-files/?d=photos/a.png",
            "/tasks/3/resolve/?fileuri=czM6Ly9i",
            "/storage-data/uploaded/?filepath=upload/1/a.png",
        ],
    )
    def test_files_of_label_studio_are_read_with_the_token(
        self, source: ImageSource, label_studio_host: Host, value: str
    ) -> None:
        label_studio_host.send(value.split("?")[0])
        assert source.read(value, task_id=7) == PICTURE
        assert label_studio_host.asked == [(value, f"Token {TOKEN}")]

    def test_absolute_addresses_of_label_studio_are_read_with_the_token(
        self, source: ImageSource, label_studio_host: Host
    ) -> None:
        source.read(label_studio_host.send("/data/upload/1/a.png"), task_id=7)
        assert label_studio_host.tokens() == [f"Token {TOKEN}"]

    @pytest.mark.parametrize("value", ["/data/upload/1/a.png", "/tools/ls/data/upload/1/a.png"])
    def test_label_studio_may_live_below_a_path(
        self, source_below_a_path: ImageSource, label_studio_host: Host, value: str
    ) -> None:
        label_studio_host.send("/tools/ls/data/upload/1/a.png")
        assert source_below_a_path.read(value, task_id=7) == PICTURE
        assert label_studio_host.tokens() == [f"Token {TOKEN}"]

    def test_a_neighbour_of_its_path_gets_no_token(
        self, source_below_a_path: ImageSource, label_studio_host: Host
    ) -> None:
        source_below_a_path.read(label_studio_host.send("/tools/lsx/data/upload/1/a.png"), task_id=7)
        assert label_studio_host.tokens() == [None]

    @pytest.mark.parametrize(
        ("value", "asked_for"),
        [
            ("s3://bucket/a.png", "s3://bucket/a.png"),
            ("gs://bucket/a b.png", "gs://bucket/a b.png"),
            ("azure-blob://box/a.png", "azure-blob://box/a.png"),
            ("azure://box/a.png", "azure-blob://box/a.png"),
        ],
    )
    def test_storages_are_read_through_its_resolver(
        self, source: ImageSource, label_studio_host: Host, value: str, asked_for: str
    ) -> None:
        label_studio_host.send("/tasks/7/resolve/")
        assert source.read(value, task_id=7) == PICTURE
        path, _, query = label_studio_host.asked[0][0].partition("?fileuri=")
        assert path == "/tasks/7/resolve/"
        assert base64.urlsafe_b64decode(query.replace("%3D", "=")).decode() == asked_for

    def test_the_token_stays_behind_when_the_resolver_redirects(
        self, source: ImageSource, label_studio_host: Host, host: Host
    ) -> None:
        host.send("/bucket/a.png")
        label_studio_host.redirect("/tasks/7/resolve/", f"{host.url}/bucket/a.png?signature=1")
        assert source.read("s3://bucket/a.png", task_id=7) == PICTURE
        assert label_studio_host.tokens() == [f"Token {TOKEN}"]
        assert host.tokens() == [None]

    def test_a_stranger_cannot_redirect_us_to_its_api_with_the_token(
        self, source: ImageSource, label_studio_host: Host, host: Host
    ) -> None:
        label_studio_host.send("/api/projects/1/export", b"secret")
        source.read(host.redirect("/a.png", f"{label_studio_host.url}/api/projects/1/export"), task_id=7)
        assert label_studio_host.tokens() == [None]

    @pytest.mark.parametrize(
        "value",
        [
            "/etc/passwd",
            "/api/projects/",
            "/data/../api/projects/",
            "/data/upload/../../api/projects/",
            "/data/upload/%2e%2e/%2e%2e/api/projects/",
            "/data/upload/%252e%252e/api/projects/",
            "/data/upload/..\\..\\api/",
        ],
    )
    def test_a_path_of_no_image_is_read_neither_from_disk_nor_from_label_studio(
        self, source: ImageSource, label_studio_host: Host, value: str
    ) -> None:
        assert "local files are not read" in failure(source, value)
        assert label_studio_host.asked == []

    @pytest.mark.parametrize(
        "value", ["photo.png", "file:///etc/passwd", "C:\\photo.png", "//host/a.png", "redis://a/b"]
    )
    def test_a_value_that_is_no_address_is_said_to_be_none(self, source: ImageSource, value: str) -> None:
        assert "no address that can be read" in failure(source, value)

    def test_a_storage_that_it_does_not_know(self, source: ImageSource) -> None:
        assert "Add the storage of this address to the project's settings" in failure(source, "s3://bucket/a.png")

    def test_a_token_that_it_refuses(self, source: ImageSource, label_studio_host: Host) -> None:
        label_studio_host.send("/data/upload/1/a.png", status=401)
        assert "Check that LABEL_STUDIO_API_KEY is current" in failure(source, "/data/upload/1/a.png")

    @pytest.mark.parametrize("value", ["/data/upload/1/a.png", "s3://bucket/a.png"])
    def test_without_a_label_studio_its_files_cannot_be_read(self, value: str) -> None:
        for source in _source(None):
            assert "Set LABEL_STUDIO_URL" in failure(source, value)

    def test_without_a_label_studio_pictures_elsewhere_can_be_read(self, host: Host) -> None:
        for source in _source(None):
            assert source.read(host.send("/a.png"), task_id=7) == PICTURE


class TestLabelStudioUnderSeveralNames:
    """Tasks hold an address of the same server that is not LABEL_STUDIO_URL."""

    @pytest.fixture
    def read(self, label_studio_host: Host) -> Callable[..., str]:
        """Read an address with these names known, from no private host; what the server was asked."""

        def read_with(value: str, *names: str, below: str = "") -> str:
            label_studio = LabelStudio(label_studio_host.url + below, TOKEN, names=names)
            for source in _source(label_studio, allowed=Hosts()):
                assert source.read(value, task_id=7) == PICTURE
            ((asked, authorization),) = label_studio_host.asked
            assert authorization == f"Token {TOKEN}"
            return asked

        return read_with

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("http://studio.test", "http://studio.test/data/upload/1/a.png"),
            ("https://studio.test", "https://studio.test/data/upload/1/a.png"),
            ("https://studio.test/", "https://STUDIO.test:443/data/upload/1/a.png"),
            ("http://10.0.0.5:8080", "http://10.0.0.5:8080/data/upload/1/a.png"),
            ("http://[fd00::5]:8080", "http://[fd00::5]:8080/data/upload/1/a.png"),
            ("https://tools.test/ls", "https://tools.test/ls/data/upload/1/a.png"),
        ],
    )
    def test_files_are_read_from_another_name(
        self, read: Callable[..., str], label_studio_host: Host, name: str, value: str
    ) -> None:
        label_studio_host.send("/data/upload/1/a.png")
        assert read(value, "http://other.test", name) == "/data/upload/1/a.png"

    def test_the_query_of_an_address_is_kept(self, read: Callable[..., str], label_studio_host: Host) -> None:
        label_studio_host.send("/data/local-files/")
        asked = read("http://studio.test/data/local-files/?d=photos%2Fa b.png", "http://studio.test")
        assert asked == "/data/local-files/?d=photos%2Fa%20b.png"

    def test_label_studio_may_live_below_a_path_that_the_name_lacks(
        self, read: Callable[..., str], label_studio_host: Host
    ) -> None:
        label_studio_host.send("/tools/ls/data/upload/1/a.png")
        asked = read("http://studio.test/data/upload/1/a.png", "http://studio.test", below="/tools/ls")
        assert asked == "/tools/ls/data/upload/1/a.png"

    def test_a_redirect_to_its_own_name_is_followed(self, label_studio_host: Host) -> None:
        label_studio_host.send("/data/upload/1/a.png")
        label_studio_host.redirect("/tasks/7/resolve/", "https://studio.test/data/upload/1/a.png")
        label_studio = LabelStudio(label_studio_host.url, TOKEN, names=["https://studio.test"])
        for source in _source(label_studio, allowed=Hosts()):
            assert source.read("s3://bucket/a.png", task_id=7) == PICTURE

    @pytest.mark.parametrize(
        "value",
        [
            "http://localhost/api/projects/1/export",
            "http://localhost/data/upload/../../api/projects/",
            "http://localhost.elsewhere.invalid/data/upload/1/a.png",
            "http://localhost:81/data/upload/1/a.png",
            "https://localhost/data/upload/1/a.png",
        ],
    )
    def test_nothing_but_images_is_asked_of_label_studio_under_another_name(
        self, label_studio_host: Host, value: str
    ) -> None:
        label_studio = LabelStudio(label_studio_host.url, TOKEN, names=["http://localhost"])
        for source in _source(label_studio, allowed=Hosts()):
            failure(source, value)
        assert label_studio_host.asked == []

    @pytest.mark.parametrize("path", ["/data/upload/1/a.png", "/ls/data/local-files/?d=a.png", "/tasks/7/resolve/"])
    def test_a_name_that_is_not_known_is_proposed(self, label_studio_host: Host, path: str) -> None:
        for source in _source(LabelStudio(label_studio_host.url, TOKEN), allowed=Hosts()):
            message = failure(source, f"http://localhost:9{path}")
        assert "add http://localhost:9 to CAPTIONLOOP_LABEL_STUDIO_NAMES" in message

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_a_name_is_proposed_where_the_server_answers(self, source: ImageSource, host: Host, status: int) -> None:
        message = failure(source, host.send("/data/upload/1/a.png", status=status))
        assert f"add {host.url} to CAPTIONLOOP_LABEL_STUDIO_NAMES" in message

    def test_no_name_is_proposed_for_pictures_of_others(self, source: ImageSource, host: Host) -> None:
        assert "CAPTIONLOOP_LABEL_STUDIO_NAMES" not in failure(source, host.send("/photos/a.png", status=401))


class TestData:
    @pytest.mark.parametrize(
        "value",
        [
            "data:image/png;base64," + base64.b64encode(PICTURE).decode(),
            "DATA:image/png;charset=x;BASE64," + base64.b64encode(PICTURE).decode(),
            "data:image/png;base64," + "\n".join(base64.b64encode(PICTURE).decode()),
            "data:image/png," + "".join(f"%{byte:02x}" for byte in PICTURE),
        ],
    )
    def test_data_is_decoded(self, source: ImageSource, value: str) -> None:
        assert source.read(value, task_id=7) == PICTURE

    @pytest.mark.parametrize(
        ("value", "cause"),
        [
            ("data:image/png;base64", "no comma"),
            ("data:image/png;base64,", "empty"),
            ("data:image/png;base64,a", "not valid base64"),
            ("data:image/png;base64,????", "not valid base64"),
            ("data:image/png;base64," + "A" * 1400, "more than 1,000 bytes"),
            ("data:image/png," + "x" * 1001, "more than 1,000 bytes"),
        ],
    )
    def test_data_that_is_none(self, source: ImageSource, value: str, cause: str) -> None:
        message = failure(source, value)
        assert cause in message
        assert len(message) < 300


class TestAddressesThatAreNotPublic:
    """The machine that the suite runs on is such an address, so here it is not allowed."""

    @pytest.fixture
    def source(self, label_studio_host: Host) -> Iterator[ImageSource]:
        yield from _source(LabelStudio(label_studio_host.url, TOKEN), allowed=Hosts())

    def test_nothing_is_fetched_from_an_address_that_is_not_public(self, source: ImageSource, host: Host) -> None:
        message = failure(source, host.send("/a.png"))
        assert "127.0.0.1, which is no public address" in message
        assert "add 127.0.0.1 to CAPTIONLOOP_IMAGE_HOSTS" in message
        assert host.asked == []

    @pytest.mark.parametrize(
        "spelling", ["localhost", "127.1", "2130706433", "0x7f000001", "0", "[::1]", "[::ffff:127.0.0.1]"]
    )
    def test_no_spelling_gets_there(self, source: ImageSource, host: Host, spelling: str) -> None:
        port = host.url.rpartition(":")[2]
        assert "which is no public address" in failure(source, f"http://{spelling}:{port}/a.png")
        assert host.asked == []

    @pytest.mark.parametrize(
        "address",
        [
            "http://169.254.169.254/latest/meta-data/",
            "http://[fd00:ec2::254]/latest/",
            "http://100.100.100.200/latest/",
        ],
    )
    def test_the_metadata_of_a_cloud_is_not_read(self, source: ImageSource, address: str) -> None:
        assert "which is no public address" in failure(source, address)

    def test_label_studio_is_read_there_all_the_same(self, source: ImageSource, label_studio_host: Host) -> None:
        label_studio_host.send("/data/upload/1/a.png")
        assert source.read("/data/upload/1/a.png", task_id=7) == PICTURE

    def test_label_studio_at_a_private_address_is_asked_for_its_files_only(
        self, source: ImageSource, label_studio_host: Host
    ) -> None:
        message = failure(source, label_studio_host.send("/api/projects/1/export"))
        assert "no image of Label Studio's, whose paths begin with" in message
        assert label_studio_host.asked == []

    def test_another_port_of_label_studios_machine_is_not_asked(self, source: ImageSource, host: Host) -> None:
        assert "no public address" in failure(source, host.send("/data/upload/1/a.png"))
        assert host.asked == []

    def test_a_redirect_of_label_studio_does_not_lead_there(
        self, source: ImageSource, label_studio_host: Host, host: Host
    ) -> None:
        label_studio_host.redirect("/tasks/7/resolve/", host.send("/bucket/a.png"))
        assert "CAPTIONLOOP_IMAGE_HOSTS" in failure(source, "s3://bucket/a.png")
        assert host.asked == []

    def test_a_proxy_of_the_environment_does_not_lead_there(
        self, source: ImageSource, host: Host, make_host: Callable[[], Host], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proxy = make_host()
        for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(variable, proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
        assert "no public address" in failure(source, host.send("/a.png"))
        assert proxy.asked == []

    @pytest.mark.parametrize("allowed", ["localhost", "127.0.0.1", "127.0.0.0/8", "nas.example LOCALHOST"])
    def test_a_setting_allows_hosts_and_networks(self, host: Host, allowed: str) -> None:
        host.send("/a.png")
        for source in _source(None, allowed=Hosts.parse(allowed)):
            assert source.read(host.url.replace("127.0.0.1", "localhost") + "/a.png", task_id=7) == PICTURE

    def test_a_host_that_is_allowed_leads_to_no_other(self, make_host: Callable[[], Host]) -> None:
        allowed, other = make_host(), make_host()
        other.send("/b.png")
        named = allowed.redirect("/a.png", other.url + "/b.png").replace("127.0.0.1", "localhost")
        for source in _source(None, allowed=Hosts.parse("localhost")):
            assert "127.0.0.1, which is no public address" in failure(source, named)
        assert other.asked == []
