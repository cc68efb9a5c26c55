"""The live page in a browser, on a server that works."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from embedded_texts import mixed_texts
from server_processes import client_of, serving

CHROMIUM = shutil.which("chromium")
WAIT_MS = 60_000
PHONE = {"width": 390, "height": 844}
pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("live") / "log") as server:
        yield server


@pytest.fixture(scope="module")
def busy(server):
    """The server has just answered some calls."""
    with client_of(server) as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: client.embed(texts=[text]), mixed_texts(40, seed=3)))


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - skipped without a browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, server):
    """Opens the page with what a browser may be; any error in its console fails the test."""
    contexts, errors = [], []

    def open_with(**options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: said.type == "error" and errors.append(said.text))
        page.goto(server.http + "/")
        page.wait_for_selector("#status[data-status=healthy]")
        return page

    yield open_with
    for context in contexts:
        context.close()
    assert errors == []


def test_it_shows_the_pipeline_at_work(open_page, busy):
    page = open_page()
    stages = page.locator("#flow .stage").all_inner_texts()
    assert [text.split("\n")[0] for text in stages] == [
        "admission",
        "tokenizing",
        "bucketing",
        "batching",
        "execution",
        "notification",
    ]
    page.wait_for_function(
        "document.querySelector('#model').textContent.includes('384 dimensions')"
    )
    assert page.locator("#flow .pipe").count() == 6
    assert page.locator("#buckets div").count() >= 5
    page.wait_for_function("document.querySelectorAll('#latency path').length > 3")


def test_batches_go_by_while_it_is_watched(open_page, server):
    page = open_page()
    with client_of(server) as client:
        client.embed(texts=mixed_texts(4, seed=4))
    page.wait_for_selector("#batches i", state="attached")
    assert "tokens" in page.get_attribute("#batches", "aria-label")


def test_a_text_is_tried_by_keyboard_alone(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("electricity from a river")
    page.keyboard.press("Enter")
    page.wait_for_selector("#nearest li")
    assert "turbine" in page.locator("#nearest li").first.inner_text()


def test_it_follows_again_when_a_proxy_has_said_that_the_server_is_away(browser, server):
    answers = [503, 502]
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)

        def answer(route):
            if answers:
                route.fulfill(status=answers.pop())
            else:
                route.continue_()

        page.route("**/live", answer)
        page.goto(server.http + "/")
        page.wait_for_selector("#status[data-status=lost]")
        page.wait_for_selector("#status[data-status=healthy]")
    assert not answers


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_light_and_dark(open_page, scheme):
    page = open_page(color_scheme=scheme)
    contrast = page.evaluate(CONTRAST)
    assert min(contrast) >= 4.5  # WCAG 2.2, level AA


def test_a_button_changes_light_to_dark(open_page):
    page = open_page(color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate(ground) != before


def test_it_fits_a_phone(open_page, busy):
    page = open_page(viewport=PHONE, has_touch=True)
    page.wait_for_function("document.querySelectorAll('#latency path').length > 3")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


# The contrast of each piece of text with the ground it stands on.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = (color) => {
    canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    const part = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    const through = color === "rgba(0, 0, 0, 0)" && element.parentElement;
    return through ? ground(element.parentElement) : color;
  };
  return [...document.querySelectorAll("h1,h2,p,dt,dd,li,button,label")]
    .filter((element) => element.innerText.trim() && !element.classList.contains("skip"))
    .map((element) => {
      const [a, b] = [light(getComputedStyle(element).color), light(ground(element))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    });
}"""
