"""The name of a task's picture, out of its address."""

import pytest

from captionloop.backend.label_studio.task_pictures import picture_name


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/upload/3/0a1b2c3d-scene-001.png", "scene-001.png"),
        ("/studio/data/upload/12/0a1b2c3d-a%20b.jpg", "a b.jpg"),
        ("http://localhost:8080/data/upload/3/0a1b2c3d-a.png", "a.png"),
        ("/data/upload/3/a-name-of-its-own.png", "data/upload/3/a-name-of-its-own.png"),
        ("/data/local-files/?d=photos/sub/a%20b.jpg", "photos/sub/a b.jpg"),
        ("http://localhost:8080/data/local-files/?d=photos%2Fa.jpg", "photos/a.jpg"),
        ("https://host.example/albums/7/a.jpg?size=large#x", "albums/7/a.jpg"),
        ("s3://bucket/albums/a.jpg", "albums/a.jpg"),
        ("data:image/png;base64,AAAA", None),
        ("https://host.example/", None),
        ("http://[half", None),
        ("", None),
    ],
)
def test_an_address_tells_the_name(address: str, name: str | None) -> None:
    assert picture_name({"image": address}, address) == name


def test_a_task_of_a_directory_says_its_name_itself() -> None:
    data = {"image": "/data/upload/3/0a1b2c3d-b.png", "file": "sub/a.png"}
    assert picture_name(data, data["image"]) == "sub/a.png"


@pytest.mark.parametrize("value", ["", None, 7, ["a.png"]])
def test_a_field_of_that_name_with_something_else_in_it_is_no_name(value: object) -> None:
    assert picture_name({"file": value}, "s3://bucket/a.jpg") == "a.jpg"
