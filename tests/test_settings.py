"""Settings are read once, and what is wrong with one is said with its variable."""

import pytest

from captionloop.errors import SettingsError
from captionloop.settings import Settings


@pytest.mark.parametrize("address", ["http://ls.test/projects/1/data?tab=1&task=5", "http://ls.test/#top"])
def test_an_address_out_of_the_browser_with_what_follows_its_path_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match=r"LABEL_STUDIO_URL .* without what begins with \? or #"):
        Settings.read({"LABEL_STUDIO_URL": address})


@pytest.mark.parametrize("address", ["http://ls.test", "http://ls.test/", "http://ls.test/?"])
def test_an_address_is_kept_without_its_last_slash(address: str) -> None:
    assert Settings.read({"LABEL_STUDIO_URL": address}).label_studio_url == "http://ls.test"
