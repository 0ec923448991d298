"""The page of the service in a real browser: a person drops an image and sees the box and the heat map."""

import base64
import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.conftest import broken, encoded, part

_BROWSER, _DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    _BROWSER is None or _DRIVER is None, reason="no chromium; apt-get install chromium chromium-driver"
)

# What a browser does when a person lets go of a file over the page.
DROP = """
const [name, content] = arguments;
const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], name, {type: "image/png"}));
for (const kind of ["dragover", "drop"])
  document.getElementById("drop").dispatchEvent(
    new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: transfer}));
"""

# Where the box lies over the picture, in pixels of the image.
BOX = """
const image = document.querySelector("article img"), box = document.querySelector("article .box");
const outer = image.getBoundingClientRect(), inner = box.getBoundingClientRect();
const zoom = outer.width / image.naturalWidth;
return [inner.top - outer.top, inner.left - outer.left, inner.height, inner.width].map(length => length / zoom);
"""

LOADED = "return [...document.images].map(image => image.complete && image.naturalWidth)"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = _BROWSER
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1100,900"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # The driver is there, so nothing is looked up or fetched.
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(_DRIVER))
    with contextlib.closing(driver.command_executor):
        yield driver
        driver.quit()


def found(browser, selector: str, count: int = 1) -> list:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def there(_) -> list | None:
        elements = browser.find_elements(By.CSS_SELECTOR, selector)
        return elements if len(elements) >= count else None

    return WebDriverWait(browser, 20).until(there)


def drop(browser, name: str, contents: bytes) -> None:
    browser.execute_script(DROP, name, base64.b64encode(contents).decode())


def test_a_dropped_part_is_shown_with_its_box_and_its_heat_map(serve, detector, browser, tmp_path):
    served = serve()
    browser.get(served.address)
    pixels = broken(7)
    [verdict] = detector.scores([pixels])
    drop(browser, "<b>odd</b>.png", encoded(pixels))
    [card] = found(browser, "article.odd")
    assert detector.summary() in found(browser, "#model")[0].text
    found(browser, "article .box")
    assert card.text.startswith("<b>odd</b>.png\nanomalous\nscore ")
    assert len(found(browser, "article img", 2)) == 2
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(lambda _: browser.execute_script(LOADED) == [56, 56])
    assert len(found(browser, "article .region")) >= 1
    # Chromium rounds to a pixel of the screen.
    box = browser.execute_script(BOX)
    assert box == pytest.approx([*verdict.worst], abs=1.0)

    file = tmp_path / "good.png"
    file.write_bytes(encoded(part(1)))
    browser.execute_script("document.getElementById('files').style.opacity = 1")
    found(browser, "#files")[0].send_keys(str(file))
    assert found(browser, "article.good")[0].text.startswith("good.png\nnormal")
    drop(browser, "bad.png", b"no image")
    assert "no PNG, JPEG, BMP or TIFF" in found(browser, "article.failed")[0].text
    WebDriverWait(browser, 20).until(lambda _: len(browser.execute_script(LOADED)) == 4)
    if target := os.environ.get("SCREENSHOTS"):
        browser.save_screenshot(str(Path(target) / "page.png"))
    # 422 is how the service says that an image cannot be used.
    told = [entry["message"] for entry in browser.get_log("browser") if "422" not in entry["message"]]
    assert told == []


def test_the_page_asks_for_the_token_and_then_scores_what_waited(serve, browser):
    browser.get(serve(token="0123456789abcdef").address)
    drop(browser, "a.png", encoded(broken(7)))
    found(browser, "#login[style*=block]")
    found(browser, "#token")[0].send_keys("wrong-wrong-wrong\n")
    found(browser, "#login[style*=block]")
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(lambda _: "not the token" in found(browser, "#denied")[0].text)
    found(browser, "#token")[0].clear()
    found(browser, "#token")[0].send_keys("0123456789abcdef\n")
    assert found(browser, "article.odd")[0].text.startswith("a.png")
