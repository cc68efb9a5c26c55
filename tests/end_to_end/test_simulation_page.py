"""A simulation's report on a phone."""

import shutil

import pytest

from simulations.report.page import as_page
from simulations.simulation import simulate
from simulations.world.arrivals import Poisson
from simulations.world.scenario import Clients, Scenario

CHROMIUM = shutil.which("chromium")
PHONE = {"width": 390, "height": 844}
pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


def test_nothing_of_it_is_wider_than_a_phone():
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - skipped without a browser

    report = simulate(Scenario(1.0, (Clients("callers", Poisson(20.0)),)), seed=1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(viewport=PHONE, is_mobile=True).new_page()
        page.set_content(as_page(report, f"penstock simulate {'long' * 50}.toml"))
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        table = page.locator("table").first
        assert table.evaluate("table => table.parentElement.scrollWidth") > PHONE["width"]
        browser.close()
