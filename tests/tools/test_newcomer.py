"""What `make newcomer` takes along into a clean Debian; the day itself takes minutes and root, and is run by hand."""

import configparser
from pathlib import Path

from tools.newcomer import as_file, paths_in


def test_pips_configuration_is_the_same_inside() -> None:
    certificate = {"global.cert": "/etc/site.pem"}
    configuration = {**certificate, "global.find-links": "/wheels\n/more", "install.pre": "1"}
    inside = configparser.RawConfigParser()
    inside.read_string(as_file(configuration))
    assert dict(inside["global"]) == {"cert": "/etc/site.pem", "find-links": "/wheels /more"}
    assert dict(inside["install"]) == {"pre": "1"}


def test_the_files_and_folders_that_a_setting_names_go_along(tmp_path: Path) -> None:
    certificate, wheels = tmp_path / "site.pem", tmp_path / "wheels"
    certificate.touch()
    wheels.mkdir()
    assert paths_in([f"{wheels} https://mirror.example/simple", str(certificate), "180"]) == [certificate, wheels]


def test_with_an_index_in_a_folder_goes_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "index" / "simple").mkdir(parents=True)
    assert paths_in([f"file://{tmp_path}/index/simple"]) == [tmp_path / "index"]


def test_a_file_in_a_copied_folder_is_not_copied_twice(tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "all.pem").touch()
    assert paths_in([f"{tmp_path}/certs/all.pem", f"{tmp_path}/certs"]) == [tmp_path / "certs"]


def test_a_path_that_does_not_exist_is_not_copied(tmp_path: Path) -> None:
    assert paths_in([str(tmp_path / "missing"), f"file://{tmp_path}/nowhere/simple"]) == []
