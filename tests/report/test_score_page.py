"""The page of `sfseg score`, in a web browser: what a person sees and does there."""

import io
import json

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from scipy import ndimage

from sfseg.report.browser import make_browser
from tests.cli.commands import fails, sfseg

HOSTILE = "<img src=x onerror=alert(1)>.tif"
WIDTHS = 390, 820, 1440


@pytest.fixture(scope="module")
def files(tissue_folder, tmp_path_factory):
    """A folder with two maps of the tissue, the truth and the grey values; one name is hostile."""
    folder = tmp_path_factory.mktemp("maps")
    volume, labels = (tifffile.imread(tissue_folder / f"{n}.tif") for n in ("volume", "labels"))
    good = ndimage.gaussian_filter(labels.astype(np.float32) / 255, (0, 1, 1))
    good[1, 40:44, :60] = 1  # a gap that merges cells
    good[2, :, 50:53] = 0  # a membrane that cuts them
    poor = ndimage.gaussian_filter(good, (0, 2, 2))
    kinds = {"photometric": "minisblack", "description": "</script><script>alert(2)</script>"}
    tifffile.imwrite(folder / HOSTILE, good, **kinds)
    tifffile.imwrite(folder / "poor.tif", poor, **kinds)
    tifffile.imwrite(folder / "volume.tif", volume.astype(np.uint16) * 40, **kinds)
    (folder / "labels.tif").write_bytes((tissue_folder / "labels.tif").read_bytes())
    return folder


def score(folder, *maps, page):
    """Write a page and return the JSON of the command."""
    files = [folder / name for name in (*maps, "labels.tif")]
    options = "--report", page, "--image", folder / "volume.tif", "--json"
    result = sfseg("score", *files, *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def scored(files):
    """The page of one map, and the facts of the command."""
    page = files / "one.html"
    return page, score(files, HOSTILE, page=page)


@pytest.fixture(scope="module")
def compared(files):
    """The page of two maps, and the facts of the command."""
    page = files / "two.html"
    return page, score(files, HOSTILE, "poor.tif", page=page)


@pytest.fixture
def visit(visitor, scored):
    """Somebody who has opened the page of one map."""
    visitor.open(scored[0])
    return visitor


def grey_values(visit):
    return iio.imread(io.BytesIO(visit.picture(".pane:not([hidden]) img:first-child")))


def is_volume(grey, files, section):
    """Tell whether a picture shows a section of the volume, and no other one."""
    volume = tifffile.imread(files / "volume.tif").astype(float)
    likeness = [np.corrcoef(grey.ravel(), one.ravel())[0, 1] for one in volume]
    return int(np.argmax(likeness)) == section - 1 and max(likeness) > 0.95


def marked_place(visit):
    """Return where the ring lies in its pane, from its left and upper edge, as shares."""
    return visit.run("""
        const pane = document.querySelector('.pane').getBoundingClientRect();
        const ring = document.querySelector('.ring').getBoundingClientRect();
        return [(ring.x + ring.width / 2 - pane.x) / pane.width,
                (ring.y + ring.height / 2 - pane.y) / pane.height];
    """)


def test_the_page_complains_about_nothing_and_asks_for_nothing(visit, scored):
    for selector in ("[data-action=side-by-side]", "[data-action=zoom-in]", ".layers input"):
        visit.find_all(selector)[0].click()
    assert visit.errors() == []
    page = scored[0].as_uri()
    assert {url.partition("#")[0] for url in visit.requests() if url[:5] != "data:"} <= {
        page,
        "about:blank",
    }


def test_the_page_opens_at_the_worst_error(visit, scored):
    worst = scored[1]["errors"][0]
    assert visit.text(".section-number").startswith(f"section {worst['section']} ")
    assert visit.text(".error-status").startswith(f"{worst['kind']} 1: section {worst['section']}")
    assert visit.find(".pane .ring:not([hidden])").is_displayed()


def test_the_slider_changes_the_section(visit, files):
    for index in (0, 3):
        visit.run(
            "const s = document.querySelector('.section-slider'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('input'))",
            index,
        )
        assert visit.text(".section-number") == f"section {index + 1} ({index + 1} of 4)"
        assert is_volume(grey_values(visit), files, index + 1)
        alt = visit.find(".pane:not([hidden]) img:first-child").get_attribute("alt")
        assert alt == f"section {index + 1}: raw"


def test_a_click_on_an_error_goes_there_and_its_cost_is_that_of_the_json(visit, scored):
    errors = scored[1]["errors"]
    entries = visit.find_all(".errors .error")
    assert len(entries) == len(errors)
    assert {error["kind"] for error in errors} == {"merge", "split"}
    for entry, error in zip(entries, errors, strict=True):
        assert f"{error['cost']:.6f}" in entry.text
        entry.click()
        assert visit.text(".section-number").startswith(f"section {error['section']} ")
        assert entry.get_attribute("aria-current") == "true"
        across, down = marked_place(visit)
        assert 0 <= across <= 1
        assert 0 <= down <= 1
        assert f"row {error['y']}, column {error['x']}" in visit.text(".error-status")


def test_a_place_can_be_sent_to_others(visit, scored):
    error = scored[1]["errors"][1]
    visit.find_all(".errors .error")[1].click()
    visit.driver.implicitly_wait(0)
    wanted = f"section={error['section']}&error={error['id']}"
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(visit.driver, 5).until(lambda driver: wanted in driver.current_url)
    place, shown = marked_place(visit), visit.text(".zoom")
    visit.open(scored[0], visit.run("return location.hash"))
    assert visit.text(".error-status").startswith(f"{error['kind']} {error['id']}:")
    assert (marked_place(visit), visit.text(".zoom")) == (pytest.approx(place, abs=0.01), shown)


def test_the_keyboard_does_what_the_mouse_does(visit, scored):
    from selenium.webdriver.common.keys import Keys

    def section():
        return visit.text(".section-number").split()[1]

    def transform():
        return visit.find_all(".stage")[0].get_attribute("style")

    for keys, number in [
        ([Keys.HOME], "1"), ([Keys.ARROW_RIGHT], "2"), ([Keys.PAGE_DOWN], "3"), ([Keys.END], "4"),
        ([Keys.ARROW_LEFT], "3"), ([Keys.PAGE_UP], "2"),
    ]:  # fmt: skip
        visit.press(*keys)
        assert section() == number
    visit.press("e")
    assert visit.text(".error-status").startswith(f"{scored[1]['errors'][0]['kind']} 1:")
    visit.press("e", "e", "E")
    assert visit.text(".error-status").split()[1] == "2:"
    visit.press("0")
    fitting = visit.text(".zoom")
    visit.press("+", "+")
    assert visit.text(".zoom") != fitting
    before = transform()
    visit.press(Keys.SHIFT + Keys.ARROW_RIGHT)
    assert transform() != before
    visit.press("-", "-")
    assert visit.text(".zoom") == fitting
    visit.press("1")
    assert not visit.find_all(".layers input[type=checkbox]")[0].is_selected()
    visit.press("s", "x", "2")
    assert visit.find_all(".pane")[1].is_displayed()
    assert [visit.text(f".pane:nth-child({i}) .pane-caption") for i in (1, 2)] == [
        "errors", "raw + map + truth",
    ]  # fmt: skip
    visit.press("s", "?")
    assert visit.find("dialog").is_displayed()
    visit.find("dialog").send_keys(Keys.ESCAPE)
    assert not visit.find("dialog").is_displayed()


def test_every_control_can_be_reached_by_tab(visit):
    from selenium.webdriver.common.keys import Keys

    reached = set()
    while "BODY" not in reached:  # behind the last one
        visit.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(
            visit.run("""
                const at = document.activeElement;
                return at.dataset.action ?? at.classList[0] ?? at.tagName;
            """)
        )
    wanted = {"pane", "section-slider", "only-here", "kind-choice", "error", "side-by-side"}
    assert wanted | {"next-section", "zoom-in", "fit", "help", "next-error"} <= reached


def test_the_mouse_moves_and_zooms_the_picture(visit):
    from selenium.webdriver import ActionChains

    pane = visit.find_all(".pane")[0]
    visit.click("[data-action=fit]")
    fitting = visit.text(".zoom")
    ActionChains(visit.driver).move_to_element(pane).click().perform()
    wheel = (
        "const box = arguments[0].getBoundingClientRect(); arguments[0].dispatchEvent("
        "new WheelEvent('wheel', {deltaY: -300, clientX: box.x + 40, clientY: box.y + 30,"
        " bubbles: true, cancelable: true}))"
    )
    under = """
        const pane = document.querySelector('.pane').getBoundingClientRect();
        const stage = document.querySelector('.stage').getBoundingClientRect();
        return [(pane.x + 40 - stage.x) / stage.width, (pane.y + 30 - stage.y) / stage.height];
    """
    visit.run(wheel, pane)
    visit.run(wheel, pane)
    assert visit.text(".zoom") != fitting
    before = visit.run(under)
    visit.run(wheel, pane)
    assert visit.run(under) == pytest.approx(before, abs=0.01)  # the same pixel is at the pointer
    ActionChains(visit.driver).drag_and_drop_by_offset(pane, 30, 20).perform()
    left, top = visit.run(under)
    assert left < before[0]
    assert top < before[1]


def test_the_scale_bar_follows_the_zoom(visit):
    def length_nm():
        width = visit.run("return document.querySelector('.bar').getBoundingClientRect().width")
        stage = visit.run("return document.querySelector('.stage').getBoundingClientRect().width")
        return width / stage * 112 * 4  # columns and nm of a pixel

    for _ in range(3):
        number, unit = visit.text(".pane:not([hidden]) .scale-bar").split()
        assert unit == "nm"
        assert length_nm() == pytest.approx(float(number), rel=0.02)
        visit.click("[data-action=zoom-in]")
        visit.click("[data-action=zoom-in]")


def test_the_table_sorts_and_its_rows_lead_to_sections(visit, scored):
    rows = scored[1]["per_section"]

    def numbers():
        return [int(row.text.split()[0]) for row in visit.find_all(".sections tbody tr")]

    button = visit.find_all(".sections thead button")[1]
    button.click()
    assert numbers() == [row["section"] for row in sorted(rows, key=lambda row: row["v_rand"])]
    button.click()
    assert numbers() == [row["section"] for row in sorted(rows, key=lambda row: -row["v_rand"])]
    heading = visit.find_all(".sections thead th")[1]
    assert heading.get_attribute("aria-sort") == "descending"
    visit.find_all(".sections tbody td")[1].click()
    assert visit.text(".section-number").startswith(f"section {numbers()[0]} ")


def test_names_and_metadata_stay_text(visit, compared):
    assert HOSTILE in visit.text("h1")
    visit.open(compared[0])
    visit.press("p")
    assert visit.find(".prediction-choice option:checked").text == "poor.tif"
    visit.press("p")
    assert visit.text(".pane:not([hidden]) .pane-caption").startswith(f"{HOSTILE}: ")
    assert visit.find_all("img[onerror]") == []
    assert visit.errors() == []


def test_several_maps_stand_beside_each_other(visitor, compared):
    page, facts = compared
    visitor.open(page)
    for one in facts:
        assert f"{one['v_rand']:.6f}" in visitor.text("main")
        assert f"{one['dice']:.6f}" in visitor.text("main")
    second = visitor.find_all("[data-error][data-prediction='1']")
    second[0].click()
    worst = facts[1]["errors"][0]
    assert visitor.text(".error-status").endswith(f"costs {worst['cost']:.6f}")
    assert visitor.find(".prediction-choice option:checked").text == "poor.tif"


def test_a_section_that_is_not_in_the_page_leads_nowhere(visitor, files, tmp_path, monkeypatch):
    monkeypatch.setitem(make_browser.__kwdefaults__, "most_bytes", 50_000)
    page = tmp_path / "part.html"
    maps = files / "poor.tif", files / "labels.tif"
    result = sfseg("score", *maps, "--image", files / "volume.tif", "--report", page, "--json")
    rows = json.loads(result.stdout)["per_section"]
    visitor.open(page)
    assert visitor.find_all(".viewer > p.quiet")[0].text in result.stderr
    shown = visitor.run(
        "return JSON.parse(document.getElementById('viewer-data').textContent).sections"
    )
    assert 0 < len(shown) < len(rows) == 4
    for row in rows:
        number = row["section"]
        before = visitor.text(".section-number")
        button = visitor.find(f".sections tr[data-section='{number}'] button")
        assert button.is_enabled() == (number in shown)
        visitor.find_all(f".sections tr[data-section='{number}'] td")[0].click()
        after = visitor.text(".section-number")
        assert after.startswith(f"section {number} ") if number in shown else after == before


def test_a_perfect_map_has_charts_from_0_to_1(files, visitor, tmp_path):
    labels, page = files / "labels.tif", tmp_path / "perfect.html"
    assert sfseg("score", labels, labels, "--report", page).exit_code == 0
    visitor.open(page)
    ticks = {
        float(one)
        for one in visitor.run("""
        return [...document.querySelectorAll('.chart .ticks text')].map((one) => one.textContent)
    """)
    }
    assert (min(ticks), max(ticks)) == (0, 1)
    assert visitor.errors() == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows(visitor, compared, width):
    visitor.resize(width)
    visitor.open(compared[0])
    visitor.click("[data-action=side-by-side]")
    assert visitor.run("return document.documentElement.scrollWidth") == width
    assert visitor.find_all(".pane")[1].is_displayed()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible_in_both_themes(visitor, compared, theme):
    visitor.set_theme(theme)
    visitor.open(compared[0])
    visitor.click("[data-action=side-by-side]")
    visitor.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert visitor.audit() == {}
    visitor.click("[data-action=help]")
    assert visitor.audit("dialog") == {}


def test_a_page_is_refused_early(files, tmp_path):
    maps = files / "poor.tif", files / "labels.tif"
    page = tmp_path / "page.html"
    assert "ends in .html" in fails("score", *maps, "--report", tmp_path / "page.tif", code=2)
    assert "for a page" in fails("score", *maps, "--image", files / "volume.tif", code=2)
    small = tmp_path / "small.tif"
    tifffile.imwrite(small, np.zeros((4, 20, 20), np.uint8), photometric="minisblack")
    options = "--report", page, "--image"
    assert "small.tif: the shape (4, 20, 20)" in fails("score", *maps, *options, small)
    tifffile.imwrite(small, np.zeros((3, 96, 112), np.uint8), photometric="minisblack")
    assert "that of the prediction, (4, 96, 112)" in fails("score", *maps, *options, small)
    page.write_text("mine")
    assert "exists already" in fails("score", *maps, "--report", page)
    assert page.read_text() == "mine"
    assert sfseg("score", *maps, "--report", page, "--overwrite").exit_code == 0
    assert "Score of poor.tif" in page.read_text()
