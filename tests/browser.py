"""Starts Debian's Chromium without a screen, controlled by selenium, for the explorer's tests and screenshots."""

import base64
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

HEIGHTS = {390: 844, 1400: 900}


def missing():
    """Why no browser can be driven here; None if one can."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed: the extra 'browser' has it"
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            return f"there is no {program}: apt-get install chromium chromium-driver"
    return None


@contextmanager
def browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield Page(driver)
    finally:
        driver.quit()


class Page:
    """One page of the explorer in the browser."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, folder, place="", *, width=1400, dark=False):
        size = {"width": width, "height": HEIGHTS[width], "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get("about:blank")
        self.driver.get(f"{Path(folder, 'index.html').resolve().as_uri()}{place}")
        self.settle(place)

    def go(self, place):
        self.js("location.hash = arguments[0]", place)
        self.settle(place)

    def settle(self, place=None, seconds=20):
        """Wait until the view of a place is drawn: of where the address is, unless given."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            wanted = self.js("return location.hash") if place is None else place
            if self.js("return document.getElementById('main').dataset.place === arguments[0]", wanted):
                return
            time.sleep(0.01)
        raise TimeoutError(f"{wanted} was not drawn: {self.console()}")

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def key(self, name):
        """Press a key on whatever has the focus, and wait for what it opens."""
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.keys import Keys

        ActionChains(self.driver, duration=0).send_keys(getattr(Keys, name, name)).perform()
        self.settle()

    def console(self):
        """What the browser has complained of since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def cut_off(self):
        """Elements that reach past the sides of the window, but for those within what scrolls or hides by itself."""
        return self.js(
            """const width = document.documentElement.clientWidth, found = [];
            if (document.documentElement.scrollWidth > width) found.push(`the page is ${document.documentElement.scrollWidth} wide`);
            for (const each of document.querySelectorAll("body *")) {
              const place = each.getBoundingClientRect();
              if (!place.width || each.closest(".unseen, .skip, svg, [hidden], .framed")) continue;
              if (place.left < -1 || place.right > width + 1) found.push(`${each.tagName}.${each.className}: ${place.left} to ${place.right}`);
            }
            return found.slice(0, 5);"""
        )

    def picture(self, path, *, most=6000):
        """A screenshot of the whole page, at most so many pixels tall."""
        time.sleep(0.3)  # the small pictures of the network come one by one
        height = min(most, self.js("return document.documentElement.scrollHeight"))
        width = self.js("return document.documentElement.clientWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        Path(path).write_bytes(base64.b64decode(shot["data"]))
