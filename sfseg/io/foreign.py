"""Name formats that are not read, and the program that converts each."""

from pathlib import Path

from sfseg.errors import StackError

_BIO_FORMATS = "open it in Fiji with Bio-Formats and save it as OME-TIFF, or run: bfconvert {} {}"
_FIJI = "open it in Fiji and save it as TIFF"
_BY_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\0\0\0\x0cjP  ", "JPEG 2000", _BIO_FORMATS),
    (b"\xff\x4f\xff\x51", "JPEG 2000", _BIO_FORMATS),
    (b"ZISRAWFILE", "CZI of Zeiss", _BIO_FORMATS),
    (b"\xda\xce\xbe\x0a", "ND2 of Nikon", _BIO_FORMATS),
    (b"\x70\0\0\0", "LIF of Leica", _BIO_FORMATS),
    (b"\xd0\xcf\x11\xe0", "OIB or ZVI", _BIO_FORMATS),
    (b"II\x97\x01", "SER of FEI", _BIO_FORMATS),
    (b"# AmiraMesh", "AmiraMesh", "save it in Amira or Avizo as TIFF or MRC"),
    (b"# Avizo", "AmiraMesh", "save it in Amira or Avizo as TIFF or MRC"),
    (b"SIMPLE  =", "FITS", _FIJI),
    (b"GIF8", "GIF", _FIJI),
    (b"RIFF", "WebP or AVI", _FIJI),
    (b"%PDF", "PDF", "save its images as TIFF or PNG"),
)
_BY_SUFFIX = {
    ".jp2": ("JPEG 2000", _BIO_FORMATS),
    ".czi": ("CZI of Zeiss", _BIO_FORMATS),
    ".nd2": ("ND2 of Nikon", _BIO_FORMATS),
    ".lif": ("LIF of Leica", _BIO_FORMATS),
    ".dv": ("DV of DeltaVision", _BIO_FORMATS),
    ".ser": ("SER of FEI", _BIO_FORMATS),
    ".emi": ("EMI of FEI", _BIO_FORMATS),
    ".vsi": ("VSI of Olympus", _BIO_FORMATS),
    ".oib": ("OIB of Olympus", _BIO_FORMATS),
    ".oif": ("OIF of Olympus", _BIO_FORMATS),
    ".bmp": ("BMP", _FIJI),
    ".npz": ("NPZ", "save one of its arrays with numpy.save, as .npy"),
    ".spi": ("SPIDER", "convert it in EMAN2: e2proc2d.py IN.spi OUT.mrc"),
}


def refuse_foreign(path: Path, name: str, head: bytes) -> None:
    """Refuse a format that is known and not read.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The file, for messages.
    head : bytes
        Its first bytes.

    Raises
    ------
    StackError
        If it is one; the hint names the program that converts it.
    """
    found = next(((kind, how) for magic, kind, how in _BY_MAGIC if head.startswith(magic)), None)
    found = found or _BY_SUFFIX.get(path.suffix.lower())
    if found is not None:
        kind, hint = found
        raise StackError(
            f"{name}: {kind} is not read",
            hint=hint.format(path.name, path.with_suffix(".ome.tif").name),
        )
