"""The built site in a browser, in the width of a phone and of a desktop screen: nothing is wider than the page, no table either.

``sphinx-build -W docs docs/_build/html`` builds it; DECODING_SITE names another folder.
"""

import json
import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SITE = Path(os.environ.get("DECODING_SITE", ROOT / "docs/_build/html"))
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for path in SITE.rglob("*.html")
    if not {"_static", "lenet-page"} & set(path.parts)
)
HEIGHTS = {390: 844, 1400: 900}

# What of a page is wider than the page, or than what it stands in; tables with what is in them.
TOO_WIDE = """
const width = document.documentElement.clientWidth, found = [];
if (document.documentElement.scrollWidth > width) found.push(`page: ${document.documentElement.scrollWidth}`);
for (const table of document.querySelectorAll("table")) {
  if (!table.offsetWidth) continue;
  const box = table.getBoundingClientRect(), around = table.parentElement.getBoundingClientRect();
  if (box.left < around.left - 1 || box.right > around.right + 1 || box.right > width + 1) found.push(`table: ${box.right} in ${around.right}`);
  for (const cell of table.querySelectorAll("td, th")) {
    if (cell.offsetWidth && cell.scrollWidth > cell.clientWidth + 1) found.push(`cell "${cell.textContent.slice(0, 40)}": ${cell.scrollWidth} in ${cell.clientWidth}`);
  }
}
for (const image of document.querySelectorAll("article img")) {
  if (image.getBoundingClientRect().right > width + 1) found.push(`picture: ${image.src}`);
  if (!image.complete || !image.naturalWidth) found.push(`no picture: ${image.src}`);
}
return JSON.stringify(found.slice(0, 5));
"""


@pytest.fixture(scope="module")
def browser():
    pytest.importorskip("selenium", reason="needs selenium, the extra `browser`")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if None in programs.values():
        pytest.skip("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(programs["chromedriver"]))
    try:
        yield driver
    finally:
        driver.quit()


def too_wide(browser, address, width):
    size = {"width": width, "height": HEIGHTS[width], "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(address)
    return json.loads(browser.execute_script(TOO_WIDE))


@pytest.mark.slow
@pytest.mark.skipif(not PAGES, reason="the site is not built: sphinx-build -W docs docs/_build/html")
@pytest.mark.parametrize("width", HEIGHTS)
def test_nothing_is_wider_than_its_page(browser, width):
    found = {page: too_wide(browser, (SITE / page).as_uri(), width) for page in PAGES}
    assert {page: wide for page, wide in found.items() if wide} == {}
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []


def test_what_is_too_wide_is_found(browser, tmp_path):
    wide = "<meta name='viewport' content='width=device-width'><table><tr><td style='min-width: {}px'>a</table>"
    for width in HEIGHTS:
        for pixels in (width - 60, width + 10):
            (tmp_path / "page.html").write_text(wide.format(pixels))
            assert bool(too_wide(browser, (tmp_path / "page.html").as_uri(), width)) == (pixels > width)
    (tmp_path / "page.html").write_text(
        "<div style='width: 200px'><table><tr><td style='min-width: 300px'>a</table></div>"
    )
    assert too_wide(browser, (tmp_path / "page.html").as_uri(), 1400)
