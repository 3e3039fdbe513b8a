"""Installs the Label Studio that the suite runs against, where it is not there yet: `make label-studio`."""

from captionloop.backend.local.label_studio_install import install, is_installed
from tests.support.servers import CACHE, STUDIO_VERSION

if __name__ == "__main__":
    if not is_installed(CACHE, STUDIO_VERSION):
        print(f"Installing Label Studio {STUDIO_VERSION} beside the checks, once …", flush=True)
        install(CACHE, progress=lambda _: None, version=STUDIO_VERSION)
