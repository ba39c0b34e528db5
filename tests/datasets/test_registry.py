"""The table of datasets: sources, hashes and splits fit together."""

import re

import pytest

from sfseg.datasets import registry
from sfseg.errors import UnknownNameError
from sfseg.types import parse_sections

ALL = tuple(registry.DATASETS.values())
DOWNLOADED = [d for d in ALL if d.name != "tissue"]


def by_name(dataset):
    return dataset.name


def test_the_table_has_the_datasets_of_the_documentation():
    assert set(registry.DATASETS) == {"isbi2012", "piriform", "vnc", "snemi3d", "cremi", "tissue"}
    assert all(name == dataset.name for name, dataset in registry.DATASETS.items())


def test_a_misspelt_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'isbi2012'"):
        registry.find("ISBI-2012")


@pytest.mark.parametrize("dataset", ALL, ids=by_name)
def test_each_dataset_says_whom_to_cite_and_under_what_licence(dataset):
    assert dataset.citation
    assert dataset.licence
    assert dataset.split
    assert all(doi.startswith("10.") for doi in dataset.dois)


@pytest.mark.parametrize("dataset", DOWNLOADED, ids=by_name)
def test_each_source_is_https_and_pinned_or_checked(dataset):
    assert all(source.url.startswith("https://") for source in dataset.sources)
    assert all(file.has_identity for file in dataset.files if file.required)
    for source in dataset.sources:
        if "raw.githubusercontent.com" in source.url:
            assert re.search(r"/[0-9a-f]{40}/", source.url)


@pytest.mark.parametrize("dataset", ALL, ids=by_name)
def test_identities_are_hexadecimal_and_of_the_right_length(dataset):
    for file in dataset.files:
        assert all(re.fullmatch("[0-9a-f]{40}", blob) for blob in file.git_blobs)
        for digest in filter(None, (file.sha256, file.pixels)):
            assert re.fullmatch("[0-9a-f]{64}", digest)


@pytest.mark.parametrize("dataset", ALL, ids=by_name)
def test_sources_name_only_files_of_the_dataset_and_together_all_that_is_required(dataset):
    names = {file.name for file in dataset.files}
    required = {file.name for file in dataset.files if file.required}
    offered = [names if s.files is None else set(s.files) for s in dataset.sources]
    assert all(offer <= names for offer in offered)
    assert required <= set.union(*offered)


@pytest.mark.parametrize("dataset", ALL, ids=by_name)
def test_parts_lie_in_required_files(dataset):
    required = {file.name for file in dataset.files if file.required}
    for part in dataset.parts:
        for path in (part.images, part.labels):
            file = path.partition(":")[0]
            assert any(name == file or name.startswith(f"{file}/") for name in required)


@pytest.mark.parametrize("dataset", ALL, ids=by_name)
def test_no_section_is_both_trained_on_and_tested_on(dataset):
    for train in dataset.train:
        for test in dataset.test:
            if train.images == test.images:
                assert train.sections is not None
                assert test.sections is not None
                numbers = [set(parse_sections(p.sections, 200)) for p in (train, test)]
                assert not set.intersection(*numbers)


def test_the_splits_are_those_of_the_thesis():
    isbi, piriform = registry.find("isbi2012"), registry.find("piriform")
    assert [p.sections for p in isbi.train + isbi.test] == ["1-24", "25-30"]
    assert [(p.images, p.sections) for p in piriform.train] == [
        ("stack2-image.tif", None),
        ("stack3-image.tif", "1-100"),
    ]
    assert [(p.images, p.sections) for p in piriform.test] == [("stack3-image.tif", "101-169")]


def test_only_the_labels_of_the_test_volume_may_be_missing_from_isbi2012():
    files = registry.find("isbi2012").files
    assert [file.name for file in files if not file.required] == ["test-labels.tif"]


def test_vnc_is_twenty_images_with_twenty_membrane_maps():
    names = [file.name for file in registry.find("vnc").files]
    assert names == [
        *(f"stack1/raw/{n:02d}.tif" for n in range(20)),
        *(f"stack1/membranes/{n:02d}.png" for n in range(20)),
    ]
    assert registry.find("vnc").label_kind == "membrane"


def test_hdf5_is_asked_for_by_the_datasets_that_need_it():
    assert {d.name for d in ALL if d.extra == "hdf5"} == {"snemi3d", "cremi"}
