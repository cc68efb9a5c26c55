"""The page of the HTTP routes in a browser that reaches no other host."""

import shutil

import pytest
from server_processes import serving

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


def test_it_shows_every_route_and_what_it_takes(tmp_path):
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - skipped without a browser

    asked, errors = [], []
    with serving(tmp_path / "log", DEVICE="null") as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: said.type == "error" and errors.append(said.text))
        page.goto(server.http + "/docs")
        page.wait_for_selector("details")
        shown = set(page.locator("summary code").all_inner_texts())
        page.get_by_text("/v1/embeddings").first.click()
        assert page.get_by_text("truncate_prompt_tokens").first.is_visible()
        assert {"/embed", "/v1/models", "/metrics", "/docs"} <= shown
        assert all(url.startswith((server.http, "data:")) for url in asked)
        browser.close()
    assert errors == []
