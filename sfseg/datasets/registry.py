"""The table of datasets: what they are, where to get them, and the hashes of their files.

A *git blob id* is the sha1 of the word blob, a space, the byte count, a NUL and the bytes; git
hosts publish it for each file. A *pixel hash* is the sha256 of the bytes of the decoded array in C
order; it is the same for every mirror and every TIFF layout. This module only holds facts: it
opens no file and no connection.
"""

from collections.abc import Mapping
from types import MappingProxyType

from sfseg.datasets.dataset import DataFile, Dataset, DatasetSource, LabelledStack
from sfseg.datasets.tissue import TissueOptions
from sfseg.errors import UnknownNameError
from sfseg.types import Shape

__all__ = ["DATASETS", "DataFile", "Dataset", "DatasetSource", "LabelledStack", "find"]


def find(name: str) -> Dataset:
    """Return the dataset called `name`.

    Raises
    ------
    UnknownNameError
        If no dataset has that name; the hint suggests the nearest one.
    """
    if name not in DATASETS:
        raise UnknownNameError.from_known("dataset", name, DATASETS)
    return DATASETS[name]


_NOT_STATED = "not stated by the source: ask the authors before any use beyond research"
_RAW = "https://raw.githubusercontent.com"


def _isbi2012(name: str, pixels: str | None, *blobs: str, labels: bool = False) -> DataFile:
    return DataFile(
        name,
        size_bytes=7_869_518,
        shape=(30, 512, 512),
        values=(0, 255) if labels else None,
        pixels=pixels,
        git_blobs=blobs,
        required=pixels is not None,
    )


ISBI2012 = Dataset(
    name="isbi2012",
    title="ISBI 2012 challenge: Drosophila larva ventral nerve cord, ssTEM",
    citation="Arganda-Carreras et al. 2015, Frontiers in Neuroanatomy 9:142; "
    "Cardona et al. 2010, PLoS Biology 8:e1000502",
    dois=("10.3389/fnana.2015.00142", "10.1371/journal.pbio.1000502"),
    licence="free for generating or testing non-commercial image segmentation software",
    voxel_size_nm=(50.0, 4.0, 4.0),
    label_kind="interior",
    files=(
        _isbi2012(
            "train-volume.tif",
            "200da3d452d726e6c9ca1ce04b869d4edb727320d23b516d01cce707dc8c4760",
            "358e48bed4f747c20da43251eb7138727d98cec3",
            "840041bf2d257dfb3852605538b29ee8a71fe446",
        ),
        _isbi2012(
            "train-labels.tif",
            "a7cb64000a1a7e542682927e19c91339f58f9f178e0bcce4e207371116f0ca36",
            "74ab9858c0be80842c94c41c6fb980aab49e9558",
            "5cfe518391e95c6557492fd5eef278f4ec9f7c0c",
            labels=True,
        ),
        _isbi2012(
            "test-volume.tif",
            "1b58fa7ec1d0ff9d39a855622db3ff66a97863036339b0d04be51b2f5a99b0e9",
            "3e3612ff0786d278b4d2712a29383c7ca58288ad",
        ),
        # Published after the challenge; there was no copy to take a hash from.
        _isbi2012("test-labels.tif", None, labels=True),
    ),
    sources=(
        DatasetSource("https://downloads.imagej.net/ISBI-2012-challenge.zip", "archive"),
        DatasetSource(
            f"{_RAW}/alexklibisz/isbi-2012/238a567ae843f7c03e5cc5d3f233cd3f93f0da17/data/",
            files=("train-volume.tif", "train-labels.tif", "test-volume.tif"),
        ),
        DatasetSource(
            f"{_RAW}/seung-lab/znn-release/f4e01cabd97dfe1e3b36725b3a10bf1ce99f052e"
            "/dataset/ISBI2012/",
            files=("train-volume.tif", "train-labels.tif"),  # its test-volume is half of it
        ),
    ),
    train=(LabelledStack("train-volume.tif", "train-labels.tif", "1-24"),),
    test=(LabelledStack("train-volume.tif", "train-labels.tif", "25-30"),),
    split="of the thesis",
    unlabelled="test-volume.tif",
)


def _piriform(stack: int, shape: Shape, image_blob: str, label_blob: str) -> tuple[DataFile, ...]:
    size = shape[0] * shape[1] * shape[2]
    required = stack != 1  # the thesis does not use stack 1
    return (
        DataFile(
            f"stack{stack}-image.tif", size, shape, git_blobs=(image_blob,), required=required
        ),
        DataFile(f"stack{stack}-label.tif", size, git_blobs=(label_blob,), required=required),
    )


PIRIFORM = Dataset(
    name="piriform",
    title="Mouse piriform cortex, three of the four stacks",
    citation="Lee, Zlateski, Vishwanathan, Seung 2015, Advances in Neural Information Processing "
    "Systems 28, arXiv:1508.04843",
    dois=("10.48550/arXiv.1508.04843",),
    licence=_NOT_STATED,
    voxel_size_nm=None,
    # ZNN (`binary_class`) reads every nonzero label as inside a cell. There was no copy to check,
    # so `sfseg.datasets.verify` refuses labels whose share of interior is not plausible.
    label_kind="interior",
    files=(
        *_piriform(
            2,
            (170, 512, 512),
            "fbaddc7da38757394d44d3d23dc7a6de34b599fd",
            "7e7ffcea783dba9466ce69ce31a66d269cf4c73e",
        ),
        *_piriform(
            3,
            (169, 512, 512),
            "b24e5dd8b0f371f67ffc5e0d0cd74c03140f5ca4",
            "0eaf7fdbf93287d477e8fb5983a2df841ace729b",
        ),
        *_piriform(
            1,
            (168, 255, 255),
            "b8cf029e89f0df47e61a545b8db0b4567defe54a",
            "7689d95abe6371ac767df4042cc7798e94e8bf8d",
        ),
    ),
    sources=(
        DatasetSource(
            f"{_RAW}/seung-lab/znn-release/b5a19bc0b25056ea0496a77c2439804f36c9fba9"
            "/dataset/Piriform/"
        ),
        DatasetSource(
            "https://bionets.github.io/Piriform_data.zip",
            "archive",
            git_blob="1eac0b178d1841f5d502a3d5122ea25807ecc259",
        ),
    ),
    train=(
        LabelledStack("stack2-image.tif", "stack2-label.tif"),
        LabelledStack("stack3-image.tif", "stack3-label.tif", "1-100"),
    ),
    test=(LabelledStack("stack3-image.tif", "stack3-label.tif", "101-169"),),
    split="of the thesis",
)

_VNC_RAW = """
    1b562c898bc5bc8df2e94595d03b06fb6ed8e637 9a46b96e689438ef9747525631e6b7fa9676ad53
    8d09b62998b45bd0bafd73bed1ce1af673ec6022 eefbd68dc1f7c25123f109fd9e9fdfc4692f949d
    af05d3f8dfe81f89e38bee5d2598190c626ed05f 2a4b8b44b0f942c86ce7f4669564ae4c1f660ffb
    d65a3e5d57459e29c6c163e52ecc282373ea6733 0e413bd546d8239e11a2807481ecd397147f7917
    2f92565645122c16f844b7cdb3fc6a63a48c9564 3c507f0cda7f68b79233621ce2170b1eb6555127
    6fb1c1686223d7d55efe12a75a0aeb5fd1e9b398 cde3f63d2eed08527370e59dc47529432525f4da
    b8c445bc4031e0074f54ba36a8bc454409801eb3 6da01d5323533ad3aff34a710f4943434eed42e6
    a49795fa1c8c3b59a50c6e4daaefd4f76561511c e59c748d004d82c9cc480d46b991681d8d52d49e
    87b2526186b25502003d3cbeed8fcbef891402c0 e6a307596757931cb377bed07750085a198be50f
    2402295a3340d654562ca5418b3f398b3cd4258a f8617ebe7cb2d857076e08f9e37c0baec0221e28
"""
_VNC_MEMBRANES = """
    499809c0426e5f313b489503c985cd3350000640 edce5d95a5eac620fa8a7b872f76d5cca51cc403
    f28b5e3dad89dee2a48e033dff347c0901cb46dd 81b21f97c8384cc5fd5a8cf94719e65be854a370
    71e55fd23845e10e72560b6b208929ca50c13fcc 76493d0ded2fbce7a289e99b950221b962f25461
    abd56030fbfa44db734954f5a28da1c0e4225465 921929fb70a94ef0bcf4447493b6ca43918d4ef3
    7d9af65b45629398f2f272d721b149e70bdd9102 466bdf9b409d7056d0e5296230e110fc390f5a40
    1f53c8b491e486e8e6ee5e06afa37d9c98883f8d 7aacfa83282c4da8b0225a87253eccc27f7dd84c
    b5826764a5503fde2bec14085c433e470e1c0608 4764fcd7c1ccf3e0617cc9b3e5d4f9c227cf98e3
    e3373fdd1eb17d743fe1f429b2ca13ec683bb1d3 3de6c82e6fc5373b97874e42e5cf62e3e62bb4af
    755c3481986bca85547019a7e903a27b5ce89f9a a55fee9b10cb202d392ea08b2e626c0d982f3ddf
    33bc9b40ea2266ddc0db57953850fea4669665cb f9b92fa563a457de7cea491d36b35b6d3d14dccb
"""


def _vnc(folder: str, suffix: str, size: int, blobs: str) -> tuple[DataFile, ...]:
    shape = (1, 1024, 1024) if suffix == "tif" else None
    return tuple(
        DataFile(f"{folder}/{number:02d}.{suffix}", size, shape, git_blobs=(blob,))
        for number, blob in enumerate(blobs.split())
    )


VNC = Dataset(
    name="vnc",
    title="Drosophila third-instar larva ventral nerve cord, ssTEM, the labelled stack",
    citation="Gerhard, Funke, Martel, Cardona, Fetter 2013, Segmented anisotropic ssTEM dataset of "
    "neural tissue, figshare",
    dois=("10.6084/m9.figshare.856713",),
    licence="CC BY-NC-SA 3.0",
    voxel_size_nm=(45.0, 4.6, 4.6),
    label_kind="membrane",
    files=(
        *_vnc("stack1/raw", "tif", 1_048_734, _VNC_RAW),
        *_vnc("stack1/membranes", "png", 28_500, _VNC_MEMBRANES),
    ),
    sources=(
        DatasetSource(
            "https://github.com/unidesigner/groundtruth-drosophila-vnc/archive/"
            "4a5f051466d24d8dc1e855ab55658bb1b1dcd6bf.zip",
            "archive",
        ),
    ),
    train=(LabelledStack("stack1/raw", "stack1/membranes", "1-15"),),
    test=(LabelledStack("stack1/raw", "stack1/membranes", "16-20"),),
    split="ours: the publication has none",
)

_RAW_PATH, _IDS_PATH = "/volumes/raw", "/volumes/labels/neuron_ids"

SNEMI3D = Dataset(
    name="snemi3d",
    title="SNEMI3D challenge: mouse somatosensory cortex, the labelled volume",
    citation="Kasthuri et al. 2015, Cell 162:648-661",
    dois=("10.1016/j.cell.2015.06.054",),
    licence=_NOT_STATED,
    voxel_size_nm=(30.0, 6.0, 6.0),
    label_kind="instances",
    files=(
        DataFile(
            "snemi_train.h5",
            size_bytes=150_000_000,
            sha256="5b130a24d9eb23d972fede0f1a403bc05f6808b361cfa22eff23b930b12f0615",
        ),
    ),
    sources=(DatasetSource("https://oc.embl.de/index.php/s/43iMotlXPyAB39z/download"),),
    # torch-em reads these paths in the file; there was no copy to check them.
    train=(LabelledStack(f"snemi_train.h5:{_RAW_PATH}", f"snemi_train.h5:{_IDS_PATH}", "1-80"),),
    test=(LabelledStack(f"snemi_train.h5:{_RAW_PATH}", f"snemi_train.h5:{_IDS_PATH}", "81-100"),),
    split="ours: the challenge keeps the labels of its test volume",
    extra="hdf5",
)

_CREMI = {
    "sample_A_20160501.hdf": "4c563d1b78acb2bcfb3ea958b6fe1533422f7f4a19f3e05b600bfa11430b510d",
    "sample_B_20160501.hdf": "887e85521e00deead18c94a21ad71f278d88a5214c7edeed943130a1f4bb48b8",
    "sample_C_20160501.hdf": "2874496f224d222ebc29d0e4753e8c458093e1d37bc53acd1b69b19ed1ae7052",
}


def _cremi_parts(sections: str) -> tuple[LabelledStack, ...]:
    return tuple(
        LabelledStack(f"{name}:{_RAW_PATH}", f"{name}:{_IDS_PATH}", sections) for name in _CREMI
    )


CREMI = Dataset(
    name="cremi",
    title="CREMI challenge: adult Drosophila brain, samples A, B and C",
    citation="Funke, Saalfeld, Bock, Turaga, Perlman 2016, MICCAI Challenge on Circuit "
    "Reconstruction from Electron Microscopy Images, https://cremi.org",
    dois=(),
    licence=_NOT_STATED,
    voxel_size_nm=(40.0, 4.0, 4.0),
    label_kind="instances",
    files=tuple(DataFile(name, 170_000_000, sha256=sha256) for name, sha256 in _CREMI.items()),
    sources=(DatasetSource("https://cremi.org/static/data/"),),
    train=_cremi_parts("1-100"),
    test=_cremi_parts("101-125"),
    split="ours: the challenge keeps the labels of its test samples",
    extra="hdf5",
)

TISSUE_FILES = ("volume.tif", "labels.tif", "cells.tif")
"""Images, interior, and the number of the cell of each pixel."""

_BYTES_OF_TAGS = 4_000


def tissue_dataset(options: TissueOptions) -> Dataset:
    """Describe synthetic tissue as a dataset.

    Each choice of options has a name of its own, and so a folder: the plain `tissue` stays what it
    is, whatever else is drawn.
    """
    volume, labels, cells = TISSUE_FILES
    depth, height, width = options.shape
    size, cut = depth * height * width, max(1, depth * 3 // 4)
    parts = ("tissue", *(f"{word}{value}" for word, value in options.words.items()))
    return Dataset(
        name="-".join(parts),
        title="Synthetic neuropil, drawn here from a seed",
        citation="not needed: sfseg draws it",
        dois=(),
        licence="BSD-3-Clause",
        voxel_size_nm=(50.0, 4.0, 4.0),
        label_kind="interior",
        files=(
            # No hash: the last bit of floating-point arithmetic may differ between machines.
            DataFile(volume, size + _BYTES_OF_TAGS, options.shape),
            DataFile(labels, size + _BYTES_OF_TAGS, options.shape, values=(0, 255)),
            DataFile(cells, 4 * size + _BYTES_OF_TAGS, options.shape, dtype="uint32"),
        ),
        sources=(DatasetSource(f"seed {options.seed}", "generator", tissue=options),),
        train=(LabelledStack(volume, labels, f"1-{cut}"),),
        test=(LabelledStack(volume, labels, f"{cut + 1}-{depth}"),) if cut < depth else (),
        split="ours",
        arguments=" ".join(("tissue", *(f"--{w} {value}" for w, value in options.words.items()))),
    )


TISSUE = tissue_dataset(TissueOptions())

DATASETS: Mapping[str, Dataset] = MappingProxyType(
    {d.name: d for d in (ISBI2012, PIRIFORM, VNC, SNEMI3D, CREMI, TISSUE)}
)
