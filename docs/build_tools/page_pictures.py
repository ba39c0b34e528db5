"""Take the pictures of pages in docs/images: the page of `sfseg score`, and that of `sfseg train`.

Both show drawn tissue. Needs chromium, chromium-driver and selenium. The training takes some
minutes. Run it in the root of the repository.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver

IMAGES = Path("docs/images")
WIDTH_PX, HEIGHT_PX, COLOURS = 1200, 820, 128


def sfseg(*arguments: object) -> str:
    """Run a command; return what it prints."""
    command = [sys.executable, "-m", "sfseg", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def take_picture(page: Path, name: str) -> None:
    """Write the top of a page as a small PNG."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", f"--window-size={WIDTH_PX},{HEIGHT_PX}"):
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
        data = Path(sfseg("fetch", "tissue", "--data-dir", folder, "--seed", 3))
        volume, labels = data / "volume.tif", data / "labels.tif"
        prediction, page, run = folder / "map.tif", folder / "score.html", folder / "run"
        sfseg("predict", volume, "-o", prediction)
        sfseg("score", prediction, labels, "--image", volume, "--report", page)
        take_picture(page, "score-report.png")
        sfseg(
            "train",
            "--images",
            volume,
            "--labels",
            labels,
            "--epochs",
            12,
            "--patch",
            96,
            "-o",
            run,
        )
        take_picture(run / "report.html", "train-report.png")


if __name__ == "__main__":
    main()
