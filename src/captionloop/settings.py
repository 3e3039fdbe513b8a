"""The settings: one class, read once at start from the environment and a `.env` file.

Each field has its variable, default and help, which a test compares with the table in docs/settings.md.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qsl, urlencode, urlsplit

from dotenv import dotenv_values

from captionloop.errors import SettingsError
from captionloop.hosts import Hosts
from captionloop.image_limits import ImageLimits
from captionloop.setting_fields import PrecisionSetting

# The Label Studio that `captionloop up` installs and that everything is written for.
LABEL_STUDIO_VERSION = "1.23.2"
# The first that the suite passes with: one before it, "Start Training" cannot be told from a change of the project.
OLDEST_LABEL_STUDIO = "1.12.1"
# The server name of the Label Studio that `captionloop up` starts, whatever its port.
LOCAL_SERVER = "local"


@dataclass(frozen=True)
class Secret:
    """A value that must not show up in a log or a traceback; `reveal()` gives it."""

    _value: str

    def __repr__(self) -> str:
        return "Secret('**********')"

    __str__ = __repr__

    def reveal(self) -> str:
        return self._value


def without_password(url: str) -> str:
    """An address for display, without user and password, also in its query."""
    scheme, separator, rest = url.partition("://")
    address, mark, query = rest.partition("?")
    kept = urlencode([(name, value) for name, value in parse_qsl(query) if name not in {"username", "password"}])
    return scheme + separator + address.rpartition("@")[2] + (mark + kept if kept else "")


def _text(value: str) -> str:
    return value


def _path(value: str) -> Path:
    return Path(value).expanduser().absolute()


def _port(value: str) -> int:
    number = _positive(value)
    if number > 65535:
        raise ValueError("a port between 1 and 65535")
    return number


def _positive(value: str) -> int:
    if not value.isdecimal() or int(value) == 0:
        raise ValueError("a whole number above 0")
    return int(value)


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("an address such as http://localhost:8080")
    if parts.query or parts.fragment:
        raise ValueError("an address such as http://localhost:8080, without what begins with ? or #")
    return value.rstrip("/?#")


class Addresses(tuple[str, ...]):
    """Some http(s) addresses. `str` gives a text that `parse` reads again."""

    @classmethod
    def parse(cls, text: str) -> "Addresses":
        """Read `http://10.0.0.5:8080, ls.example/tools`; one without http:// or https:// stands for both.

        Raises:
            ValueError: an entry is no address.
        """
        entries = text.replace(",", " ").split()
        return cls(
            _http_url(address)
            for entry in entries
            for address in ([entry] if "://" in entry else [f"http://{entry}", f"https://{entry}"])
        )

    def __str__(self) -> str:
        return ", ".join(self)


def _networks(value: str) -> Hosts:
    try:
        found = Hosts.parse(value)
    except ValueError:
        found = Hosts(frozenset({value}))
    if found.names:
        raise ValueError("addresses or networks such as 10.0.0.5, 192.168.0.0/16")
    return found


class Emails(frozenset[str]):
    """E-mail addresses, in lower case. `str` gives a text that `parse` reads again."""

    @classmethod
    def parse(cls, text: str) -> "Emails":
        """Read `ada@example.org, bo@example.org`.

        Raises:
            ValueError: an entry is no e-mail address.
        """
        entries = text.lower().replace(",", " ").split()
        if not all(name and host for name, _, host in (entry.partition("@") for entry in entries)):
            raise ValueError("e-mail addresses such as ada@example.org, bo@example.org")
        return cls(entries)

    def __str__(self) -> str:
        return ", ".join(sorted(self))


def _header(value: str) -> str:
    if not re.fullmatch("[A-Za-z0-9-]+", value):
        raise ValueError("the name of a header such as X-Forwarded-Email")
    return value


def _redis_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_one = parts.scheme in {"redis", "rediss", "unix"} and parts.port != 0
    except ValueError:  # its port is none
        is_one = False
    if not is_one:
        raise ValueError("an address such as redis://localhost:6379/0 or unix:///run/redis.sock")
    return value


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError("one of " + ", ".join(allowed))
        return value

    return parse


def _setting(variable: str, help: str, parse: Callable[[str], Any] = _text, **default: Any) -> Any:
    return field(metadata={"variable": variable, "help": help, "parse": parse}, kw_only=True, **default)


def _default_home() -> Path:
    return Path.home() / ".captionloop"


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "captionloop"


@dataclass(frozen=True)
class Settings:
    """All settings. Build it with `read()`, which validates every value."""

    home: Path = _setting(
        "CAPTIONLOOP_HOME",
        "All data: database, images, versions, logs, Label Studio's own data.",
        _path,
        default_factory=_default_home,
    )
    cache: Path = _setting(
        "CAPTIONLOOP_CACHE",
        "Data that can be rebuilt: Label Studio's virtual environment.",
        _path,
        default_factory=_default_cache,
    )
    model: str = _setting(
        "CAPTIONLOOP_MODEL",
        "The BLIP that a new project starts from: `starter`, a directory, or a hub id.",
        default="starter",
    )
    device: str = _setting(
        "CAPTIONLOOP_DEVICE",
        "Device of the models: `cuda`, `mps` (Apple), `xpu` (Intel) or `cpu`; `auto`: the first available.",
        _choice("auto", "cuda", "mps", "xpu", "cpu"),
        default="auto",
    )
    precision: PrecisionSetting = _setting(
        "CAPTIONLOOP_PRECISION",
        "Number format for captioning; `auto`: bf16 where the hardware computes in it, else fp32.",
        _choice(*get_args(PrecisionSetting)),
        default="auto",
    )
    processes: int = _setting(
        "CAPTIONLOOP_PROCESSES",
        "Processes of one training run (data parallel), each on its own GPU.",
        _positive,
        default=1,
    )
    gate: str = _setting(
        "CAPTIONLOOP_GATE",
        "When a candidate replaces the champion: `better`, `surely better`, `always`, or `never` (a person promotes).",
        _choice("better", "surely better", "always", "never"),
        default="better",
    )
    prompt: str = _setting(
        "CAPTIONLOOP_PROMPT", "Prompt before each caption of the base model; removed from the output.", default=""
    )
    beams: int = _setting("CAPTIONLOOP_BEAMS", "Beams of the beam search; 1 is greedy search.", _positive, default=3)
    host: str = _setting("CAPTIONLOOP_HOST", "Address that the backend listens on.", default="127.0.0.1")
    port: int = _setting("CAPTIONLOOP_PORT", "Port of the backend.", _port, default=9090)
    backend_url: str | None = _setting(
        "CAPTIONLOOP_URL",
        "Where Label Studio reaches the backend; unset: `http://localhost:PORT`.",
        _http_url,
        default=None,
    )
    user: str | None = _setting(
        "CAPTIONLOOP_USER",
        "Basic-auth user of the backend, and who signs in to its pages; unset: what `captionloop up` made.",
        default=None,
    )
    password: Secret | None = _setting(
        "CAPTIONLOOP_PASSWORD", "Basic-auth password of the backend.", Secret, default=None
    )
    reader_password: Secret | None = _setting(
        "CAPTIONLOOP_READER_PASSWORD",
        "Password of the user `reader`, who sees the pages and changes nothing; unset: no such user.",
        Secret,
        default=None,
    )
    leads: Emails = _setting(
        "CAPTIONLOOP_LEADS",
        "Who signs in with Label Studio as lead, by e-mail: `ada@example.org, bo@example.org`.",
        Emails.parse,
        default_factory=Emails,
    )
    reviewers: Emails = _setting(
        "CAPTIONLOOP_REVIEWERS",
        "Who signs in with Label Studio as reviewer, by e-mail; everybody else there is an annotator.",
        Emails.parse,
        default_factory=Emails,
    )
    user_header: str | None = _setting(
        "CAPTIONLOOP_USER_HEADER",
        "Header in which your own proxy names who has signed in, by e-mail: `X-Forwarded-Email`.",
        _header,
        default=None,
    )
    user_header_from: Hosts = _setting(
        "CAPTIONLOOP_USER_HEADER_FROM",
        "The addresses that this header is believed from: `10.0.0.5, 192.168.0.0/24`; from others never.",
        _networks,
        default_factory=Hosts,
    )
    key: Secret | None = _setting(
        "CAPTIONLOOP_KEY",
        "Key that encrypts stored secrets, 32 bytes in base64; unset: one in the home directory.",
        Secret,
        default=None,
    )
    trusted_proxies: Hosts = _setting(
        "CAPTIONLOOP_TRUSTED_PROXIES",
        "Proxies in front of the backend, whose `X-Forwarded-For` is believed: `10.0.0.5, 172.16.0.0/12`.",
        _networks,
        default_factory=Hosts,
    )
    database_url: str | None = _setting(
        "CAPTIONLOOP_DATABASE_URL",
        "SQLAlchemy URL of the database; unset: SQLite in the home directory.",
        default=None,
        repr=False,  # it may hold a password
    )
    redis_url: str | None = _setting(
        "REDIS_URL",
        "Your own Redis or Valkey; unset: the one that `captionloop up` starts.",
        _redis_url,
        default=None,
        repr=False,  # as above
    )
    label_studio_url: str | None = _setting(
        "LABEL_STUDIO_URL", "Your own Label Studio; unset: the one that `captionloop up` starts.", _http_url,
        default=None,
    )  # fmt: skip
    label_studio_api_key: Secret | None = _setting(
        "LABEL_STUDIO_API_KEY", "Its access token, legacy or personal.", Secret, default=None
    )
    label_studio_names: Addresses = _setting(
        "CAPTIONLOOP_LABEL_STUDIO_NAMES",
        "Other addresses of the same Label Studio that occur in tasks: `http://10.0.0.5:8080, ls.example`.",
        Addresses.parse,
        default_factory=Addresses,
    )
    server: str | None = _setting(
        "CAPTIONLOOP_SERVER",
        "Name of this Label Studio in the database; unset: its address. Set it before the address changes.",
        default=None,
    )
    label_studio_port: int = _setting(
        "CAPTIONLOOP_LABEL_STUDIO_PORT", "Port of the Label Studio that `captionloop up` starts.", _port, default=8080
    )
    label_studio_python: str | None = _setting(
        "CAPTIONLOOP_LABEL_STUDIO_PYTHON",
        "Python to install that Label Studio with, a path or a command; unset: the one that runs Captionloop.",
        default=None,
    )
    max_image_mb: int = _setting(
        "CAPTIONLOOP_MAX_IMAGE_MB", "Largest image file that is read, in megabytes.", _positive, default=50
    )
    max_image_megapixels: int = _setting(
        "CAPTIONLOOP_MAX_IMAGE_MEGAPIXELS", "Largest image that is decoded, in millions of pixels.", _positive,
        default=100,
    )  # fmt: skip
    image_hosts: Hosts = _setting(
        "CAPTIONLOOP_IMAGE_HOSTS",
        "Private hosts and networks that pictures may be fetched from: `nas.example, 10.0.0.0/8`.",
        Hosts.parse,
        default_factory=Hosts,
    )
    features: Path | None = _setting(
        "CAPTIONLOOP_FEATURES",
        "Directory of the cache of image features, such as one on a disk of this host; unset: in the home directory.",
        _path,
        default=None,
    )
    features_gb: int = _setting(
        "CAPTIONLOOP_FEATURES_GB", "Size limit of the cache of image features, in gigabytes.", _positive, default=20
    )
    log_level: str = _setting(
        "CAPTIONLOOP_LOG_LEVEL",
        "Least severe level that is logged: `debug`, `info`, `warning` or `error`.",
        _choice("debug", "info", "warning", "error"),
        default="info",
    )
    log_format: str = _setting(
        "CAPTIONLOOP_LOG_FORMAT",
        "Format of log lines: `text`, for people, or `json`, for log collectors.",
        _choice("text", "json"),
        default="text",
    )

    @classmethod
    def read(
        cls, environment: Mapping[str, str] | None = None, *, env_file: Path = Path(".env"), **given: Any
    ) -> "Settings":
        """Read the environment and, for variables that it lacks, `env_file`; `given` values override both.

        An empty variable counts as unset, as shells and compose files produce it.

        Raises:
            SettingsError: a value is not of the expected form, or a `CAPTIONLOOP_` variable is not known.
        """
        found = {name: value for name, value in dotenv_values(env_file).items() if value}
        found |= {name: value for name, value in (os.environ if environment is None else environment).items() if value}
        _refuse_unknown(found)
        values = {
            item.name: _parse(item.metadata["variable"], found[item.metadata["variable"]], item.metadata["parse"])
            for item in fields(cls)
            if item.metadata["variable"] in found
        }
        made = cls(**values | {name: value for name, value in given.items() if value is not None})
        made._require_addresses_of_header()
        return made

    def _require_addresses_of_header(self) -> None:
        if self.user_header and not self.user_header_from.networks:
            raise SettingsError(
                "CAPTIONLOOP_USER_HEADER is believed from named addresses only: set CAPTIONLOOP_USER_HEADER_FROM to "
                "addresses or networks such as 10.0.0.5, 192.168.0.0/24."
            )

    @property
    def server_name(self) -> str:
        """The name of this Label Studio in the database, which stays the same when its port changes."""
        return self.server or self.label_studio_url or LOCAL_SERVER

    @property
    def image_limits(self) -> ImageLimits:
        return ImageLimits(max_bytes=self.max_image_mb * 10**6, max_pixels=self.max_image_megapixels * 10**6)

    def as_environment(self) -> dict[str, str]:
        """The variables from which a child process reads equal settings (secrets included)."""
        values = {item.metadata["variable"]: getattr(self, item.name) for item in fields(self)}
        return {
            name: value.reveal() if isinstance(value, Secret) else str(value)
            for name, value in values.items()
            if value is not None
        }


def _parse(variable: str, value: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(value)
    except ValueError as error:
        shown = without_password(value) if "://" in value else value
        raise SettingsError(f"{variable} is {shown!r}, but must be {error}.") from error


def _refuse_unknown(found: Mapping[str, str]) -> None:
    known = {item.metadata["variable"] for item in fields(Settings)}
    unknown = sorted(name for name in found if name.startswith("CAPTIONLOOP_") and name not in known)
    if unknown:
        raise SettingsError(
            f"{unknown[0]} is not a setting of Captionloop. The CAPTIONLOOP_ variables are: "
            + ", ".join(sorted(name for name in known if name.startswith("CAPTIONLOOP_")))
            + "."
        )
