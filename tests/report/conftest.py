"""A headless Chromium that all tests of pages share, and what they ask of a page."""

import base64
import importlib.util
import json
import shutil
from pathlib import Path

import pytest

NEEDED = "chromium", "chromedriver"


class Visitor:
    """Somebody who looks at a page in a web browser."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, fragment=""):
        self.driver.get("about:blank")  # else only the fragment would change
        self.driver.get(path.as_uri() + fragment)

    def run(self, script, *values):
        return self.driver.execute_script(script, *values)

    def find(self, selector):
        (found,) = self.find_all(selector)
        return found

    def find_all(self, selector):
        from selenium.webdriver.common.by import By

        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, selector):
        self.find(selector).click()

    def text(self, selector):
        return self.find(selector).text

    def press(self, *keys, selector=".pane:not([hidden])"):
        """Press keys, one after the other, while an element has the focus."""
        element = self.find_all(selector)[0]
        self.run("arguments[0].focus()", element)
        for key in keys:
            element.send_keys(key)

    def resize(self, width, height=900):
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)

    def set_theme(self, theme):
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def picture(self, selector):
        """Return the bytes of the picture that an element shows."""
        return base64.b64decode(self.find(selector).get_attribute("src").partition(",")[2])

    def errors(self):
        """Return what the page has complained about since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self):
        """Return the addresses that were asked for since the last call."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def audit(self, selector="html"):
        """Return what axe-core finds wrong: the rules, and the elements that break them."""
        if importlib.util.find_spec("axe_core_python") is None:
            pytest.skip("axe-core-python is not installed")
        import axe_core_python

        self.run((Path(axe_core_python.__file__).parent / "axe.min.js").read_text())
        found = self.driver.execute_async_script(
            "axe.run(arguments[0]).then(arguments[1])", selector
        )
        return {
            one["id"]: [node["html"][:200] for node in one["nodes"]] for one in found["violations"]
        }


@pytest.fixture(scope="session")
def _chromium():
    if importlib.util.find_spec("selenium") is None:
        pytest.skip("selenium is not installed")
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        pytest.skip(f"not installed here: {', '.join(missing)}")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def visitor(_chromium):
    """Somebody with a light theme and a screen of 1280x900."""
    visitor = Visitor(_chromium)
    visitor.resize(1280)
    visitor.set_theme("light")
    visitor.errors()
    visitor.requests()
    return visitor
