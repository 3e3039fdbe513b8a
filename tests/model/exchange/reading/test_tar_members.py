"""Tar archives: what `tarfile` finds in good ones, and an end of bad ones."""

import io
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captionloop.model.exchange.reading.tar_members import DamagedArchive, Member, members

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
names = st.text(st.sampled_from("ab/.é \U0001f408"), min_size=1, max_size=12).map(lambda name: f"x{name}".rstrip("/ "))
long_names = st.builds("{}/{}".format, st.text("d", min_size=60, max_size=200), names)


def archive(entries: list[tuple[str, bytes]], form: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, data in entries:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def found(data: bytes) -> list[Member]:
    return list(members(io.BytesIO(data), len(data)))


def content(data: bytes) -> list[tuple[str, bytes]]:
    return [(member.name, data[member.offset : member.offset + member.size]) for member in found(data)]


@settings(max_examples=100, deadline=None)
@given(
    entries=st.lists(st.tuples(st.one_of(names, long_names), st.binary(max_size=1100)), max_size=6),
    form=st.sampled_from(FORMATS),
)
def test_members_that_tarfile_wrote_are_found(entries: list[tuple[str, bytes]], form: int) -> None:
    try:
        data = archive(entries, form)
    except (ValueError, UnicodeEncodeError):  # a name that the old format has no room for
        return
    assert content(data) == entries


@pytest.mark.parametrize("form", FORMATS)
def test_members_that_are_no_files_are_passed_over(form: int) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            member = tarfile.TarInfo("x" * 90)
            member.type, member.linkname = kind, "y" * 90
            tar.addfile(member)
        member = tarfile.TarInfo("a.txt")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    assert content(file.getvalue()) == [("a.txt", b"abc")]


def test_archives_that_were_put_together_are_one() -> None:
    """`cat a.tar b.tar`: `tarfile` ends at the first one's end."""
    data = archive([("a", b"1")], tarfile.PAX_FORMAT) + archive([("b", b"2")], tarfile.GNU_FORMAT)
    assert content(data) == [("a", b"1"), ("b", b"2")]


def test_an_empty_archive_has_no_files() -> None:
    assert found(bytes(10_240)) == []
    assert found(b"") == []


# Made to harm --------------------------------------------------------------------------------------------------------


def with_pax(records: dict[str, str], name: str = "a.png", data: bytes = b"abc") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo(name)
        member.size, member.pax_headers = len(data), records
        tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


@pytest.mark.parametrize("size", ["-1000", "-1", "x", "1e3", "", "9" * 30, "9" * 10, "１"])
def test_a_size_that_is_none_ends_it(size: str) -> None:
    with pytest.raises(DamagedArchive):
        found(with_pax({"size": size}))


@pytest.mark.parametrize(
    "records", [{"GNU.sparse.major": "1"}, {"GNU.sparse.map": "x"}, {"GNU.sparse.size": "-5"}, {"GNU.sparse.name": "b"}]
)
def test_a_sparse_member_is_reported(records: dict[str, str]) -> None:
    (member,) = found(with_pax(records))
    assert member.is_sparse


def test_headers_of_sparse_files_that_never_end_do() -> None:
    header = bytearray(archive([("a", b"")], tarfile.GNU_FORMAT)[:512])
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[482] = 1
    header[148:156] = f"{sum(header[:148]) + 8 * 32 + sum(header[156:]):06o}\0 ".encode()
    with pytest.raises(DamagedArchive, match="cut short"):
        found(bytes(header) + (bytes(504) + b"\1" + bytes(7)) * 1000)


def test_an_extension_that_claims_gigabytes_is_not_read() -> None:
    data = bytearray(with_pax({"path": "é"}))
    data[124:136] = b"77777777777\0"
    data[148:156] = f"{sum(data[:148]) + 8 * 32 + sum(data[156:512]):06o}\0 ".encode()
    with pytest.raises(DamagedArchive):
        found(bytes(data))


def test_a_row_of_headers_without_a_file_is_no_recursion() -> None:
    header = with_pax({"path": "é"})[:1024]
    assert found(header * 20_000) == []


@settings(max_examples=300, deadline=None)
@given(
    form=st.sampled_from(FORMATS),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6),
    end=st.integers(0, 6000),
)
def test_whatever_is_changed_it_ends_with_files_or_with_that_error(
    form: int, changes: list[tuple[int, int]], end: int
) -> None:
    name = "é" * 40 if form == tarfile.USTAR_FORMAT else "é" * 60
    data = bytearray(archive([(name, b"1" * 600), (f"{'b' * 90}/{'b' * 90}", b"2"), ("c", b"3")], form))
    for place, value in changes:
        data[place % len(data)] = value
    with suppress(DamagedArchive):
        for member in found(bytes(data[:end])):
            assert 0 <= member.offset <= member.offset + member.size <= end
