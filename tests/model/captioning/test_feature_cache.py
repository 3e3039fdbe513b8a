"""Encoder outputs kept on disk: found again exactly, never stale, never too many, safe among processes."""

import hashlib
import multiprocessing
import os
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from captionloop.model.captioning import feature_cache
from captionloop.model.captioning.feature_cache import FeatureCache

ENCODER, OTHER_ENCODER = "e" * 64, "f" * 64


def name(number: int) -> str:
    """A hash, with another first byte for each number."""
    return f"{number:02x}" * 32


def features(number: int = 0, *, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(number)).to(dtype)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "features", max_bytes=1_000_000)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_features_come_back_as_they_were(cache: FeatureCache, dtype: torch.dtype) -> None:
    cache.put_many({name(1): features(1, dtype=dtype), name(2): features(2, dtype=dtype)}, ENCODER)
    found = cache.get_many([name(2), name(3), name(1)], ENCODER)
    assert set(found) == {name(1), name(2)}
    assert found[name(1)].dtype == dtype
    assert torch.equal(found[name(1)], features(1, dtype=dtype))


def test_a_slice_of_a_batch_is_stored_alone(cache: FeatureCache) -> None:
    batch = torch.randn(100, 5, 8)
    cache.put_many({name(1): batch[50].T.contiguous().T}, ENCODER)
    assert torch.equal(cache.get_many([name(1)], ENCODER)[name(1)], batch[50])
    assert cache.total_bytes() < 1000


def test_another_encoder_knows_nothing_of_them(cache: FeatureCache) -> None:
    cache.put_many({name(1): features()}, ENCODER)
    assert cache.get_many([name(1)], OTHER_ENCODER) == {}


def test_another_process_finds_them(cache: FeatureCache) -> None:
    cache.put_many({name(1): features(1)}, ENCODER)
    assert torch.equal(FeatureCache(cache.directory, max_bytes=10).get_many([name(1)], ENCODER)[name(1)], features(1))


def test_an_empty_cache_has_nothing(cache: FeatureCache) -> None:
    assert cache.get_many([name(1)], ENCODER) == {}
    assert cache.total_bytes() == 0


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text"])
@pytest.mark.faults
def test_a_damaged_entry_is_a_miss_and_can_be_replaced(
    cache: FeatureCache, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache.put_many({name(1): features(1)}, ENCODER)
    (path,) = cache.directory.rglob("*.safetensors")
    data = path.read_bytes()
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    path.write_bytes({"empty": b"", "cut": data[:-7], "flipped": flipped, "text": b"no tensor here"}[damage])

    assert cache.get_many([name(1)], ENCODER) == {}
    assert "damaged image features" in caplog.text

    cache.put_many({name(1): features(1)}, ENCODER)
    assert torch.equal(cache.get_many([name(1)], ENCODER)[name(1)], features(1))


def test_the_least_recently_used_make_room(tmp_path: Path) -> None:
    one = FeatureCache(tmp_path / "one", max_bytes=1_000_000)
    one.put_many({name(0): features()}, ENCODER)
    size = one.total_bytes()
    cache = FeatureCache(tmp_path / "features", max_bytes=10 * size)
    for number in range(10):
        cache.put_many({name(number): features(number)}, ENCODER)
        time.sleep(0.01)
    cache.get_many([name(0)], ENCODER)  # used again, so others go first

    cache.put_many({name(number): features(number) for number in (10, 11)}, ENCODER)

    assert cache.total_bytes() <= cache.max_bytes
    kept = cache.get_many([name(number) for number in range(12)], ENCODER)
    assert {name(0), name(10), name(11)} <= set(kept)
    assert name(1) not in kept


def test_the_bound_holds_over_all_encoders(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, max_bytes=5000)
    for number in range(40):
        cache.put_many({name(number): features(number)}, ENCODER if number % 2 else OTHER_ENCODER)
        assert cache.total_bytes() <= 5000


@pytest.mark.faults
def test_a_large_cache_keeps_its_bound_by_looking_at_a_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = _size_of_one(tmp_path)
    monkeypatch.setattr(feature_cache, "_PART_BYTES", 40 * size)
    cache, entries = FeatureCache(tmp_path / "cache", max_bytes=640 * size), 2000
    listed: Counter[str] = Counter()
    scan = feature_cache._scan

    def counted(directory: str | Path) -> list[os.DirEntry[str]]:
        found = scan(directory)
        listed["entries"] += len(found)
        return found

    monkeypatch.setattr(feature_cache, "_scan", counted)
    for number in range(entries):
        cache.put_many({hashlib.sha256(str(number).encode()).hexdigest(): features(number)}, ENCODER)

    monkeypatch.setattr(feature_cache, "_scan", scan)
    assert 640 * size * 0.75 < cache.total_bytes() <= 640 * size * 17 / 16
    # Listing all of it each time that room has to be made would be more than 600 entries for each 40 written.
    assert listed["entries"] < entries * 25
    last = {hashlib.sha256(str(number).encode()).hexdigest() for number in range(entries - 100, entries)}
    assert cache.get_many(last, ENCODER).keys() == last


def _size_of_one(directory: Path) -> int:
    alone = FeatureCache(directory / "one", max_bytes=10**9)
    alone.put_many({name(1): features(1)}, ENCODER)
    return alone.total_bytes()


def test_what_a_killed_process_left_half_written_is_cleared_away(cache: FeatureCache) -> None:
    cache.put_many({name(1): features()}, ENCODER)
    folder = next(cache.directory.rglob("*.safetensors")).parent
    fresh, old = folder / "x.1.1.tmp", folder / "y.2.2.tmp"
    fresh.write_bytes(b"half")
    old.write_bytes(b"half")
    os.utime(old, (0, 0))
    FeatureCache(cache.directory, max_bytes=1_000_000).put_many({name(2): features()}, ENCODER)
    assert fresh.exists()
    assert not old.exists()


def test_a_disk_that_cannot_be_written_does_not_stop_a_caption(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "features").write_text("a file where the directory should be")
    cache = FeatureCache(tmp_path / "features", max_bytes=1_000_000)
    cache.put_many({name(1): features()}, ENCODER)
    assert "Cannot keep image features" in caplog.text
    assert cache.get_many([name(1)], ENCODER) == {}


@pytest.mark.parametrize("hostile", ["../../etc/passwd", "", "ABCDEF0123456789", "a" * 7, "/" + "a" * 63])
def test_only_hashes_name_entries(cache: FeatureCache, hostile: str) -> None:
    with pytest.raises(ValueError, match="is no hash"):
        cache.get_many([hostile], ENCODER)
    with pytest.raises(ValueError, match="is no hash"):
        cache.put_many({name(1): features()}, hostile)


def _write_and_read(directory: Path, seed: int) -> None:
    cache = FeatureCache(directory, max_bytes=4000)  # so small that all of them evict all the time
    for step in range(60):
        number = (step * 7 + seed) % 20
        cache.put_many({name(number): features(number)}, ENCODER)
        for key, tensor in cache.get_many([name(i) for i in range(20)], ENCODER).items():
            assert torch.equal(tensor, features(int(key[:2], 16)))


def test_several_processes_write_read_and_evict_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_and_read, args=(tmp_path, seed)) for seed in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
