"""Take the pictures of pages in docs/images: the page of `sfseg score`, and that of `sfseg train`.

Both show drawn tissue. Needs chromium, chromium-driver and selenium. The training takes some
minutes. Run it in the root of the repository.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver

IMAGES = Path("docs/images")
WIDTH_PX, HEIGHT_PX, COLOURS = 1200, 820, 128


def sfseg(folder: Path, *arguments: object) -> None:
    """Run a command in a folder, so that pages show names without folders."""
    command = [sys.executable, "-m", "sfseg", *map(str, arguments)]
    subprocess.run(command, check=True, cwd=folder)


def take_picture(page: Path, name: str) -> None:
    """Write the top of a page as a small PNG."""
    options = webdriver.ChromeOptions()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--hide-scrollbars",
        f"--window-size={WIDTH_PX},{HEIGHT_PX}",
    ):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    try:
        screen = {"width": WIDTH_PX, "height": HEIGHT_PX, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        driver.get(page.as_uri())
        out = IMAGES / name
        driver.save_screenshot(str(out))
    finally:
        driver.quit()
    Image.open(out).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
        out, optimize=True
    )


def main() -> None:
    """Predict and score tissue, train on it, and take both pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sfseg(folder, "fetch", "tissue", "--data-dir", ".")
        for file in ("volume.tif", "labels.tif"):
            shutil.move(folder / "tissue" / file, folder)
        sfseg(folder, "predict", "volume.tif", "-o", "map.tif")
        maps = ("map.tif", "labels.tif", "--image", "volume.tif")
        sfseg(folder, "score", *maps, "--report", "score.html")
        take_picture(folder / "score.html", "score-report.png")
        stacks = ("--images", "volume.tif", "--labels", "labels.tif")
        short = ("--sections", "1-6", "--validation", 1, "--epochs", 10, "--patch", 64)
        sfseg(folder, "train", *stacks, *short, "-o", "run")
        take_picture(folder / "run" / "report.html", "train-report.png")


if __name__ == "__main__":
    main()
