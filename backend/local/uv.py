"""uv in place of pip, with pip's configuration.

uv is several times as fast, and can override pins of other packages. But it does not read pip's configuration, which
has the index, certificate and proxy of a site behind a mirror. So pip's options are translated to uv's variables; if
one has no counterpart, pip is used.
"""

import ast
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

REQUIREMENT = "uv>=0.8"  # knows all of the variables

# uv's variables for pip's options, and the separator of several values.
_VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX", ""),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "constraint": ("UV_CONSTRAINT", " "),
    "cert": ("SSL_CERT_FILE", ""),
    "client-cert": ("SSL_CLIENT_CERT", ""),
    "proxy": ("ALL_PROXY", ""),
    "timeout": ("UV_HTTP_TIMEOUT", ""),
    "default-timeout": ("UV_HTTP_TIMEOUT", ""),
    "retries": ("UV_HTTP_RETRIES", ""),
}
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_ALWAYS = {
    "UV_INDEX_STRATEGY": "unsafe-best-match",  # the newest of all indexes; uv's way is the first that has the package
    "UV_SYSTEM_CERTS": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_NO_PROGRESS": "1",
}
# Options that only affect how pip works, or that we pass anyway.
_OF_NO_CONSEQUENCE = {
    "break-system-packages", "cache-dir", "compile", "config-file", "disable-pip-version-check", "log", "no-cache-dir",
    "no-color", "no-compile", "no-input", "no-python-version-warning", "no-warn-script-location", "prefer-binary",
    "progress-bar", "quiet", "require-virtualenv", "root-user-action", "use-feature", "user", "verbose",
}  # fmt: skip
# Later ones win, as in pip.
_SECTIONS = ("global", "install", ":env:")


def ours() -> Path | None:
    """The uv beside the Python that runs us; one on the PATH may be too old for the variables."""
    found = Path(sys.executable).with_name("uv")
    return found if os.access(found, os.X_OK) else None


def as_pip(configuration: str, environment: Mapping[str, str]) -> Mapping[str, str] | None:
    """The variables that configure uv like pip; None if that is impossible.

    Args:
        configuration: the output of `pip config list`, which includes pip's variables.
        environment: variables of pip's HTTP library, for certificates outside pip's configuration.
    """
    options = _read(configuration.splitlines())
    if not options.keys() <= _VARIABLES.keys() | _OF_NO_CONSEQUENCE:
        return None
    found = {
        variable: between.join(options[name].split()) if between else options[name]
        for name, (variable, between) in _VARIABLES.items()
        if name in options
    }
    bundle = next((environment[name] for name in _BUNDLES if environment.get(name)), None)
    return _ALWAYS | ({"SSL_CERT_FILE": bundle} if bundle else {}) | found


def _read(lines: Iterable[str]) -> dict[str, str]:
    """The options of `pip install`, from lines such as `global.index-url='https://…'`."""
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in lines:
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in found:
            found[section][option.replace("_", "-")] = str(ast.literal_eval(value))
    return {option: value for section in _SECTIONS for option, value in found[section].items()}
