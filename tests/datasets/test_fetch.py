"""Fetching: every file verified, from any source, with kills and other fetches beside it."""

import dataclasses
import hashlib
import io
import json
import os
import random
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from localhost import Host, deliver

from sfseg.datasets import fetch, manifest, registry
from sfseg.datasets.dataset import DataFile, Dataset, DatasetSource, LabelledStack
from sfseg.datasets.download import Patience
from sfseg.datasets.synthetic import draw_tissue, make_tissue
from sfseg.datasets.tissue import TissueOptions
from sfseg.errors import (
    ChecksumError,
    FetchError,
    MissingExtraError,
    OptionError,
    OutputError,
    ShapeMismatchError,
    StackError,
    UnknownNameError,
)
from tests.processes import HANGS_S
from tests.trust.hosts import bad_answers, passing_answers

HASTY = Patience(connect_s=0.5, stall_s=0.3, slowest_bytes_s=1000, pauses_s=(0.01,))
PASSING_OVER = replace(HASTY, connect_s=HANGS_S, stall_s=3, pauses_s=())
PATIENT = replace(HASTY, connect_s=HANGS_S, stall_s=HANGS_S)  # the machine may be busy
VOLUME, LABELS = make_tissue((3, 48, 40), seed=5)


def tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="minisblack", **options)
    return buffer.getvalue()


def zipped(folder="data/"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in BODIES.items():
            archive.writestr(folder + name, body)
    return buffer.getvalue()


BODIES = {"volume.tif": tiff(VOLUME), "labels.tif": tiff(LABELS)}
BAD_ANSWERS = bad_answers(BODIES["volume.tif"], tiff(VOLUME[::-1]))
SOME = (
    "cuts it short without notice",
    "sends other pixels",
    "is busy",
    "sends headers without end",
)


def table(*sources, **changes):
    """A dataset of two files, known by their pixels."""

    def file(name, pixels, values=None):
        known = hashlib.sha256(pixels.tobytes()).hexdigest()
        return DataFile(name, len(BODIES[name]), pixels.shape, values=values, pixels=known)

    dataset = Dataset(
        name="toy",
        title="A toy",
        citation="Nobody 2024",
        dois=(),
        licence="free",
        voxel_size_nm=None,
        label_kind="interior",
        files=(file("volume.tif", VOLUME), file("labels.tif", LABELS, (0, 255))),
        sources=tuple(DatasetSource(*source) for source in sources),
        train=(LabelledStack("volume.tif", "labels.tif", "1-2"),),
        test=(LabelledStack("volume.tif", "labels.tif", "3"),),
        split="ours",
    )
    return dataclasses.replace(dataset, **changes)


@pytest.fixture
def host():
    with Host() as host:
        for name, body in BODIES.items():
            host.serve(name, deliver(body))
        host.serve("toy.zip", deliver(zipped()))
        yield host


def get(dataset, to, *, patience=PATIENT, **options):
    return fetch.fetch(dataset, to=to, patience=patience, **options)


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def files_in(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def assert_whole(folder):
    assert files_in(folder) == {*BODIES, "sfseg-dataset.json"}
    assert np.array_equal(tifffile.imread(folder / "volume.tif"), VOLUME)
    assert np.array_equal(tifffile.imread(folder / "labels.tif"), LABELS)


def test_files_arrive_one_by_one_and_citation_and_licence_are_shown(host, tmp_path):
    lines = []
    folder = get(table((host.url,)), tmp_path, say=lines.append)
    assert folder == tmp_path / "toy"
    assert_whole(folder)
    assert names_in(tmp_path) == ["toy"]
    assert "cite: Nobody 2024" in lines
    assert "licence: free" in lines


def test_files_arrive_in_an_archive(host, tmp_path):
    folder = get(table((host.url + "toy.zip", "archive")), tmp_path)
    assert_whole(folder)
    assert names_in(tmp_path) == ["toy"]


def test_the_progress_of_each_download_is_reported(host, tmp_path):
    seen = []
    get(table((host.url,)), tmp_path, progress=lambda *now: seen.append(now))
    assert {name for name, _, _ in seen} == set(BODIES)


@pytest.mark.parametrize("what", BAD_ANSWERS)
def test_nothing_has_the_final_name_if_the_only_source(what, host, tmp_path):
    host.serve("volume.tif", BAD_ANSWERS[what])
    with pytest.raises(FetchError, match=r"toy: no source delivered volume\.tif") as caught:
        get(table((host.url,)), tmp_path, patience=HASTY)
    assert host.url in str(caught.value)
    assert "--from" in str(caught.value.hint)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("what", SOME)
def test_the_second_source_is_used_if_the_first(what, host, tmp_path):
    host.serve("volume.tif", BAD_ANSWERS[what])
    sources = table((host.url,), (host.url + "toy.zip", "archive"))
    assert_whole(get(sources, tmp_path, patience=PASSING_OVER))
    assert names_in(tmp_path) == ["toy"]


PASSING = passing_answers(BODIES["volume.tif"])


@pytest.mark.parametrize("what", PASSING)
def test_a_file_arrives_from_a_source_that(what, host, tmp_path):
    host.serve("good/volume.tif", deliver(BODIES["volume.tif"]))
    host.serve("volume.tif", *PASSING[what])
    assert_whole(get(table((host.url,)), tmp_path))


def test_a_stalled_source_is_left_for_the_next(host, tmp_path):
    host.serve("volume.tif", host.stall(b"II*\0"))
    sources = table((host.url,), (host.url + "toy.zip", "archive"))
    assert_whole(get(sources, tmp_path, patience=PASSING_OVER))


def test_other_pixels_are_a_checksum_error_that_names_the_file(host, tmp_path):
    host.serve("volume.tif", BAD_ANSWERS["sends other pixels"])
    with pytest.raises(ChecksumError, match=r"volume\.tif: its contents differ from the known"):
        get(table((host.url,)), tmp_path)


def test_every_source_is_named_with_what_happened(host, tmp_path):
    host.serve("volume.tif", deliver(b"", status=503))
    host.serve("toy.zip", deliver(b"", status=404))
    with pytest.raises(FetchError) as caught:
        get(table((host.url,), (host.url + "toy.zip", "archive")), tmp_path)
    assert "volume.tif: the host answered with status 503" in str(caught.value)
    assert "toy.zip: the host answered with status 404" in str(caught.value)


def test_a_whole_dataset_costs_no_connection(host, tmp_path):
    dataset = table((host.url,))
    get(dataset, tmp_path)
    host.requests.clear()
    assert_whole(get(dataset, tmp_path))
    assert host.requests == []


def test_a_record_without_its_files_is_not_taken_for_a_dataset(host, tmp_path):
    dataset = table((host.url,))
    folder = get(dataset, tmp_path)
    (folder / "volume.tif").write_bytes(BODIES["volume.tif"][:1000])
    host.requests.clear()
    assert_whole(get(dataset, tmp_path))
    assert host.requests == ["volume.tif"]  # the labels were still good


ENTRY = '{"files": [{"name": %s, "size_bytes": 1, "sha256": ""}]}'
BAD_RECORDS = [
    *("", "{", "[]", "[" * 100_000, '{"files": [{"name": 3}]}', '{"files": 7}'),
    '{"files": [{"name": "volume.tif", "size_bytes": "x", "sha256": ""}]}',
    *(ENTRY % name for name in ("3", '"../x"', '"/etc/passwd"', '"\\u0000"')),
]


@pytest.mark.parametrize("text", BAD_RECORDS)
def test_a_damaged_record_is_not_trusted(text, host, tmp_path):
    dataset = table((host.url,))
    folder = get(dataset, tmp_path)
    (folder / "sfseg-dataset.json").write_text(text)
    with pytest.raises(FetchError, match="the dataset toy is not here"):
        fetch.verify(dataset, to=tmp_path)
    assert_whole(get(dataset, tmp_path))


def test_files_that_a_user_put_into_the_folder_are_checked_and_adopted(tmp_path):
    (tmp_path / "toy").mkdir()
    for name, body in BODIES.items():
        (tmp_path / "toy" / name).write_bytes(body)
    (tmp_path / "toy" / "notes.txt").write_text("mine")
    folder = get(table(), tmp_path)
    assert files_in(folder) == {*BODIES, "sfseg-dataset.json", "notes.txt"}


def test_a_small_file_is_brought_back_from_an_archive_of_large_ones(host, tmp_path):
    bodies = {"large.bin": random.Random(0).randbytes(6_000_000), "small.bin": b"small"}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in bodies.items():
            archive.writestr(name, body)
    host.serve("all.zip", deliver(buffer.getvalue()))
    known = [DataFile(n, len(b), sha256=hashlib.sha256(b).hexdigest()) for n, b in bodies.items()]
    dataset = table((host.url + "all.zip", "archive"), files=tuple(known), train=(), test=())
    (get(dataset, tmp_path) / "small.bin").unlink()
    assert (get(dataset, tmp_path) / "small.bin").read_bytes() == b"small"


def test_a_git_blob_id_is_enough(host, tmp_path):
    def known(name):
        blob = b"blob %d\0" % len(BODIES[name]) + BODIES[name]
        digest = hashlib.sha1(blob, usedforsecurity=False).hexdigest()
        return DataFile(name, len(BODIES[name]), git_blobs=("0" * 40, digest))

    assert_whole(get(table((host.url,), files=tuple(map(known, BODIES))), tmp_path))


def test_the_blob_id_is_that_of_git(tmp_path):
    from sfseg.datasets.verify import git_blob

    (tmp_path / "hello").write_bytes(b"hello\n")
    assert git_blob(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_an_archive_with_another_blob_id_is_not_opened(host, tmp_path):
    source = (host.url + "toy.zip", "archive", None, "0" * 40)
    with pytest.raises(ChecksumError, match="this is not the archive of the table"):
        get(table(source), tmp_path)


def test_a_file_that_is_not_required_may_be_missing(host, tmp_path):
    lines = []
    extra = DataFile("extra.tif", 1000, (3, 48, 40), required=False)
    dataset = table((host.url,), files=(*table().files, extra))
    assert_whole(get(dataset, tmp_path, say=lines.append))
    assert lines[-1] == "without extra.tif, which is not required"


@pytest.mark.parametrize("labels", [255 - LABELS, np.full_like(LABELS, 255)])
def test_labels_with_an_implausible_share_of_interior_are_refused(labels, tmp_path):
    files = tuple(DataFile(name, len(body)) for name, body in BODIES.items())
    for name, pixels in (("volume.tif", VOLUME), ("labels.tif", labels)):
        (tmp_path / name).write_bytes(tiff(pixels))
    with pytest.raises(
        StackError, match=f"{np.mean(labels > 0):.0%} of the pixels are inside cells; 50%"
    ):
        get(table(files=files), tmp_path / "to", source=tmp_path)
    assert not (tmp_path / "to").exists()


def test_labels_with_numbers_for_the_cells_pass_for_interior(tmp_path):
    files = tuple(DataFile(name, 10 * len(body)) for name, body in BODIES.items())
    numbers = LABELS.astype(np.uint32) * np.arange(1, 4, dtype=np.uint32)[:, None, None]
    for name, pixels in (("volume.tif", VOLUME), ("labels.tif", numbers)):
        (tmp_path / name).write_bytes(tiff(pixels))
    assert get(table(files=files), tmp_path / "to", source=tmp_path).is_dir()


def test_labels_of_another_shape_are_refused(tmp_path):
    files = tuple(DataFile(name, len(body)) for name, body in BODIES.items())
    for name, pixels in (("volume.tif", VOLUME), ("labels.tif", LABELS[:, :40])):
        (tmp_path / name).write_bytes(tiff(pixels))
    with pytest.raises(ShapeMismatchError, match=r"the images \(3, 48, 40\)"):
        get(table(files=files), tmp_path / "to", source=tmp_path)


def test_a_split_that_names_missing_sections_is_refused(tmp_path):
    folder = folder_with_files(tmp_path)
    parts = (LabelledStack("volume.tif", "labels.tif", "1-4"),)
    with pytest.raises(OptionError, match="choose from 1 to 3"):
        get(table(test=parts), tmp_path / "to", source=folder)


def folder_with_files(tmp_path):
    folder = tmp_path / "mine" / "deep er"
    folder.mkdir(parents=True)
    for name, body in BODIES.items():
        (folder / name).write_bytes(body)
    return folder


def test_from_a_folder_and_from_the_folder_above_it(tmp_path):
    folder = folder_with_files(tmp_path)
    assert_whole(get(table(), tmp_path / "a", source=folder))
    assert_whole(get(table(), tmp_path / "b", source=str(folder.parent)))


def test_from_a_folder_says_which_files_have_no_known_hash(tmp_path):
    folder = folder_with_files(tmp_path)
    volume, labels = table().files
    told = []
    get(table(), tmp_path / "a", source=folder, say=told.append)
    assert not any("hash" in line for line in told)
    unknown = table(files=(volume, replace(labels, pixels=None)))
    get(unknown, tmp_path / "b", source=folder, say=told.append)
    assert told[-1] == (
        f"warning: no hash is known of {labels.name}: only shape and values could be checked"
    )


def test_from_a_folder_with_other_files_of_these_names_as_well(tmp_path):
    folder = folder_with_files(tmp_path)
    (folder.parent / "volume.tif").write_bytes(tiff(VOLUME[::-1]))
    assert_whole(get(table(), tmp_path / "a", source=folder.parent))


def test_from_a_folder_with_other_encodings_of_the_same_pixels(tmp_path):
    for name, pixels in (("volume.tif", VOLUME), ("labels.tif", LABELS)):
        encoded = tiff(pixels, compression="zlib", byteorder=">", rowsperstrip=7)
        assert encoded != BODIES[name]
        (tmp_path / name).write_bytes(encoded)
    assert_whole(get(table(), tmp_path / "to", source=tmp_path))


def test_from_an_archive_of_any_name(tmp_path):
    (tmp_path / "download (1)").write_bytes(zipped())
    assert_whole(get(table(), tmp_path / "to", source=tmp_path / "download (1)"))


def test_from_a_single_file_of_any_name_if_its_contents_are_known(tmp_path):
    one = table(files=table().files[:1], train=(), test=())
    (tmp_path / "renamed.tiff").write_bytes(BODIES["volume.tif"])
    folder = get(one, tmp_path / "to", source=tmp_path / "renamed.tiff")
    assert files_in(folder) == {"volume.tif", "sfseg-dataset.json"}


def test_from_a_single_file_that_is_only_half_of_it(tmp_path):
    (tmp_path / "volume.tif").write_bytes(BODIES["volume.tif"])
    with pytest.raises(FetchError, match=r"toy: no source delivered labels\.tif"):
        get(table(), tmp_path / "to", source=tmp_path / "volume.tif")


def test_from_an_address_of_an_archive_and_of_a_folder(host, tmp_path):
    assert_whole(get(table(), tmp_path / "a", source=host.url + "toy.zip"))
    assert_whole(get(table(), tmp_path / "b", source=host.url.rstrip("/")))


def test_from_an_address_without_tls_is_refused(tmp_path):
    with pytest.raises(FetchError, match="only https addresses are allowed"):
        get(table(), tmp_path, source="http://example.org/toy.zip")


def test_from_nothing_says_so(tmp_path):
    with pytest.raises(FetchError, match="does not exist\nhint: give a file, a folder or an https"):
        get(table(), tmp_path, source=tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_from_a_pipe_or_a_device_is_refused_at_once(kind, tmp_path):
    if kind == "pipe":
        os.mkfifo(tmp_path / kind)
    else:
        (tmp_path / kind).symlink_to("/dev/zero")
    with pytest.raises(FetchError, match="this is a pipe or a device"):
        get(table(), tmp_path / "to", source=tmp_path / kind)


def test_a_file_of_the_right_name_that_is_far_too_large_is_not_copied(tmp_path):
    folder = folder_with_files(tmp_path)
    with (folder / "volume.tif").open("r+b") as file:
        file.truncate(10_000_000)
    with pytest.raises(FetchError, match="too large: 10,000,000 bytes"):
        get(table(), tmp_path / "to", source=folder)


def test_from_a_folder_without_the_files_names_them(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FetchError, match=r"there is no volume\.tif"):
        get(table(), tmp_path / "to", source=tmp_path / "empty")


def test_verify_reads_everything_and_gives_the_records(host, tmp_path):
    dataset = table((host.url,))
    folder = get(dataset, tmp_path)
    records = fetch.verify(dataset, to=tmp_path)
    assert [(r.name, r.size_bytes) for r in records] == [(n, len(b)) for n, b in BODIES.items()]
    assert records[0].sha256 == hashlib.sha256((folder / "volume.tif").read_bytes()).hexdigest()


def test_verify_tells_each_file_and_how_many_bytes_are_done(host, tmp_path):
    dataset, told = table((host.url,)), []
    get(dataset, tmp_path)
    fetch.verify(dataset, to=tmp_path, progress=lambda *now: told.append(now))
    sizes = [len(body) for body in BODIES.values()]
    before = [sum(sizes[:position]) for position in range(len(sizes))]
    assert told == [(name, done, sum(sizes)) for name, done in zip(BODIES, before, strict=True)]


def test_verify_finds_one_flipped_bit_wherever_it_is(host, tmp_path):
    dataset = table((host.url,))
    path = get(dataset, tmp_path) / "labels.tif"
    whole = path.read_bytes()
    for position in random.Random(0).sample(range(len(whole)), 20):
        flipped = bytearray(whole)
        flipped[position] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(ChecksumError, match=r"labels\.tif: has changed"):
            fetch.verify(dataset, to=tmp_path)


def test_verify_finds_a_missing_file_and_fetch_brings_it_back(host, tmp_path):
    dataset = table((host.url,))
    (get(dataset, tmp_path) / "labels.tif").unlink()
    with pytest.raises(ChecksumError, match=r"labels\.tif: is missing"):
        fetch.verify(dataset, to=tmp_path)
    assert_whole(get(dataset, tmp_path))
    fetch.verify(dataset, to=tmp_path)


def test_verify_compares_with_the_table_as_well_as_with_the_record(host, tmp_path):
    folder = get(table((host.url,)), tmp_path)
    other = tiff(VOLUME[::-1])
    (folder / "volume.tif").write_bytes(other)
    record = json.loads((folder / "sfseg-dataset.json").read_text())
    digest = hashlib.sha256(other).hexdigest()
    record["files"][0] |= {"size_bytes": len(other), "sha256": digest}
    (folder / "sfseg-dataset.json").write_text(json.dumps(record))
    with pytest.raises(ChecksumError, match="its contents differ from the known"):
        fetch.verify(table(), to=tmp_path)


def test_verify_of_what_is_not_there_says_how_to_get_it(tmp_path):
    with pytest.raises(FetchError, match="the dataset isbi2012 is not here") as caught:
        fetch.verify("isbi2012", to=tmp_path)
    assert caught.value.hint == f"sfseg fetch isbi2012 --data-dir {tmp_path}"


def test_eight_at_once_make_one_valid_copy(host, tmp_path):
    dataset, waits = table((host.url,)), []
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: get(dataset, tmp_path, say=waits.append), range(8)))
    assert set(folders) == {tmp_path / "toy"}
    assert_whole(tmp_path / "toy")
    assert names_in(tmp_path) == ["toy"]
    assert sorted(host.requests) == sorted(BODIES)  # one of them fetched, seven found it done


def test_waiting_for_another_fetch_is_reported(host, tmp_path):
    dataset, asked, waiting = table((host.url,)), threading.Event(), threading.Event()

    def answer_when_somebody_waits(request):
        asked.set()
        waiting.wait(HANGS_S)
        deliver(BODIES["volume.tif"])(request)

    def note(line):
        if line == "waiting for another sfseg that is fetching toy":
            waiting.set()

    host.serve("volume.tif", answer_when_somebody_waits)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(fetch.fetch, dataset, to=tmp_path)
        assert asked.wait(HANGS_S)
        get(dataset, tmp_path, say=note)
        assert first.result() == tmp_path / "toy"
    assert waiting.is_set()


@pytest.mark.parametrize("is_whole", [False, True])
def test_what_a_killed_fetch_left_is_cleaned_up_by_the_next(is_whole, host, tmp_path):
    if is_whole:
        get(table((host.url,)), tmp_path)
    (tmp_path / "toy.part" / "good").mkdir(parents=True)
    (tmp_path / "toy.part" / "good" / "volume.tif").write_bytes(b"half")
    (tmp_path / "toy.lock").touch()
    assert_whole(get(table((host.url,)), tmp_path))
    assert names_in(tmp_path) == ["toy"]


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SFSEG_CACHE", str(tmp_path / "elsewhere"))
    assert fetch.fetch("tissue") == tmp_path / "elsewhere" / "tissue"
    monkeypatch.delenv("SFSEG_CACHE")
    assert fetch.cache_folder().name == "sfseg"


def test_tissue_needs_no_connection_and_is_the_stack_of_seed_0(tmp_path):
    folder = fetch.fetch("tissue", to=tmp_path)
    tissue = draw_tissue()
    for name in ("volume", "labels", "cells"):
        written = tifffile.imread(folder / f"{name}.tif")
        assert written.dtype == getattr(tissue, name).dtype
        assert np.array_equal(written, getattr(tissue, name))
    assert len(fetch.verify("tissue", to=tmp_path)) == 3


def test_tissue_of_a_time_without_cells_is_completed(tmp_path):
    folder = fetch.fetch("tissue", to=tmp_path)
    (folder / "cells.tif").unlink()
    dataset = registry.find("tissue")
    records = [manifest.record(folder, name) for name in ("volume.tif", "labels.tif")]
    manifest.write(folder, dataset, records)
    assert len(fetch.verify("tissue", to=tmp_path)) == 2
    fetch.fetch("tissue", to=tmp_path)
    assert manifest.is_whole(folder, dataset)
    assert manifest.read(folder)[:2] == tuple(records)
    assert (folder / "cells.tif").is_file()


def test_tissue_of_other_options_lies_beside_the_plain_one_and_is_verified(tmp_path):
    options = TissueOptions((4, 64, 64), seed=3, shift_px=2, missing=1)
    dataset = registry.tissue_dataset(options)
    folder = fetch.fetch(dataset, to=tmp_path)
    assert folder.name == "tissue-sections4-size64-seed3-shift2-missing1"
    assert dataset.command == (
        "sfseg fetch tissue --sections 4 --size 64 --seed 3 --shift 2 --missing 1"
    )
    assert np.array_equal(
        tifffile.imread(folder / "cells.tif"),
        draw_tissue((4, 64, 64), seed=3, shift_px=2, missing=1).cells,
    )
    assert len(fetch.verify(dataset, to=tmp_path)) == 3
    (folder / "labels.tif").unlink()
    with pytest.raises(ChecksumError, match=r"labels\.tif: is missing") as caught:
        fetch.verify(dataset, to=tmp_path)
    assert caught.value.hint.startswith(dataset.command)


def test_an_unknown_name_suggests_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'isbi2012'"):
        fetch.fetch("isbi2021", to=tmp_path)
    with pytest.raises(UnknownNameError):
        fetch.verify("isbi2021", to=tmp_path)


def test_hdf5_datasets_ask_for_their_extra_before_any_connection(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="hdf5") as caught:
        fetch.fetch("cremi", to=tmp_path)
    assert "pip install h5py" in str(caught.value.hint)


def hdf5_dataset(path):
    import h5py

    with h5py.File(path, "w") as file:
        file["volumes/raw"] = VOLUME
        file["volumes/labels/neuron_ids"] = LABELS.astype(np.uint64)
    known = DataFile("a.h5", 40_000, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    return table(files=(known,), label_kind="instances", extra="hdf5", test=())


def test_a_dataset_in_an_hdf5_file_arrives(tmp_path):
    dataset = hdf5_dataset(tmp_path / "a.h5")
    part = LabelledStack("a.h5:/volumes/raw", "a.h5:/volumes/labels/neuron_ids", "1-3")
    dataset = dataclasses.replace(dataset, train=(part,))
    folder = get(dataset, tmp_path / "to", source=tmp_path / "a.h5")
    assert files_in(folder) == {"a.h5", "sfseg-dataset.json"}


def test_a_path_that_an_hdf5_file_does_not_have_is_named(tmp_path):
    dataset = hdf5_dataset(tmp_path / "a.h5")
    dataset = dataclasses.replace(
        dataset, train=(LabelledStack("a.h5:/volumes/raw", "a.h5:/oops"),)
    )
    with pytest.raises(StackError, match="oops"):
        get(dataset, tmp_path / "to", source=tmp_path / "a.h5")


def test_the_list_says_what_is_here(tmp_path):
    fetch.fetch("tissue", to=tmp_path)
    here = {row.dataset.name: row.is_here for row in fetch.list_datasets(to=tmp_path)}
    assert here == {name: name == "tissue" for name in registry.DATASETS}


def test_a_read_only_cache_with_a_whole_dataset_is_enough(host, tmp_path):
    dataset = table((host.url,))
    folder = get(dataset, tmp_path)
    tmp_path.chmod(0o555)
    try:
        assert get(dataset, tmp_path) == folder
    finally:
        tmp_path.chmod(0o755)


def test_the_real_challenge_data_are_recognised_in_their_folder(isbi, tmp_path):
    folder = fetch.fetch("isbi2012", to=tmp_path, source=isbi)
    names = {"train-volume.tif", "train-labels.tif", "test-volume.tif", "sfseg-dataset.json"}
    assert names <= files_in(folder)
    assert len(fetch.verify("isbi2012", to=tmp_path)) >= 3


def test_the_real_challenge_data_are_recognised_in_an_archive(isbi, tmp_path):
    with zipfile.ZipFile(tmp_path / "challenge.zip", "w", zipfile.ZIP_DEFLATED, 1) as archive:
        for path in isbi.glob("*.tif"):
            archive.write(path, f"ISBI-2012-challenge/{path.name}")
    fetch.fetch("isbi2012", to=tmp_path, source=tmp_path / "challenge.zip")


def test_the_real_challenge_data_with_one_pixel_changed_are_refused(isbi, tmp_path):
    for path in isbi.glob("*.tif"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with Path(tmp_path / "train-labels.tif").open("r+b") as file:
        file.seek(4_000_000)
        value = file.read(1)[0]
        file.seek(4_000_000)
        file.write(bytes([255 - value]))
    with pytest.raises(
        ChecksumError, match=r"train-labels\.tif: its contents differ from the known"
    ):
        fetch.fetch("isbi2012", to=tmp_path / "to", source=tmp_path)


def test_a_cache_that_cannot_be_written_names_the_options_for_another(monkeypatch):
    monkeypatch.setenv("SFSEG_CACHE", "/proc/cache")
    with pytest.raises(OutputError, match=r"/proc/cache[^\n]*\n.*--data-dir, or set SFSEG_CACHE"):
        fetch.fetch("tissue")
