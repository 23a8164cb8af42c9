"""The page in a real browser: Chromium and its driver, run by Selenium."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import urlopen

import joblib
import pandas as pd
import pytest

pytest.importorskip("streamlit")
pytest.importorskip("selenium")

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from .conftest import EVIL, SCRIPTS

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None, reason="no Chromium with its driver"
    ),
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),
]
VIEWS = ["For a user", "Compare", "Search", "The model"]
# Seconds; a busy machine takes most of them to load Chromium and a model.
PATIENCE = 90


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("chromium")
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-dev-shm-usage",
        f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield chrome
    finally:
        chrome.quit()


@contextmanager
def serving(call, folder):
    """Run `browse` as a program does; gives the address of the page."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = (
        "import joblib\nfrom skmmrec.app import browse\n"
        f"browse({call}, port={port}, open_browser=False)"
    )
    with (folder / f"log-{port}").open("w") as log:
        command = [sys.executable, "-c", code]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + PATIENCE
        while not answers(url):
            assert process.poll() is None, (folder / f"log-{port}").read_text()
            assert time.monotonic() < until, (folder / f"log-{port}").read_text()
            time.sleep(0.2)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


def answers(url):
    try:
        with urlopen(f"{url}/_stcore/health", timeout=2):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def shop(rec, saved, folder):
    """A recommender with its catalogue, a table of items, and a model to compare."""
    joblib.dump(rec, folder / "rec.joblib")
    call = "joblib.load('rec.joblib'), items='items.csv', compare='model'"
    with serving(call, folder) as url:
        yield url


class Page:
    """What a user does with a page."""

    def __init__(self, driver, url, width=1280, height=1000):
        self.driver, self.url = driver, url
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        driver.get_log("performance")
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**size, "mobile": False}
        )
        driver.get(url)
        self.wait(lambda: self.all(".sk-head"))
        self.settle()

    def wait(self, condition):
        def met(_):
            try:
                return condition()
            except StaleElementReferenceException:
                return False

        return WebDriverWait(self.driver, PATIENCE).until(met)

    def settle(self):
        """Wait until the page is drawn and nothing runs."""
        busy = "[data-testid='stStatusWidget'], [data-stale='true']"
        self.wait(lambda: not self.all(busy))

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def texts(self, css):
        return self.wait(lambda: [element.text for element in self.all(css)] or [""])

    def buttons(self, label):
        return [b for b in self.all("button") if b.text.strip().endswith(label)]

    def click(self, label, n=0):
        button = self.wait(lambda: self.buttons(label)[n : n + 1])[0]
        self.driver.execute_script("arguments[0].click()", button)
        self.settle()

    def type(self, label, text):
        [field] = self.wait(lambda: self.all(f"input[aria-label='{label}']"))
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text, Keys.ENTER)
        self.settle()

    def body(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    def hosts(self):
        """Hosts that were asked for anything since the page was opened."""
        found = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            params = message["params"]
            if message["method"] == "Network.requestWillBeSent":
                found.add(urlsplit(params["request"]["url"])[:2])
            elif message["method"] == "Network.webSocketCreated":
                found.add(urlsplit(params["url"])[:2])
        return {host for scheme, host in found if scheme not in ("data", "blob")}

    def widest(self):
        """How far what is shown reaches beyond the window, but for rows that scroll."""
        return self.driver.execute_script(
            """
            const scrolls = '.sk-strip, .sk-model, [data-testid=stDataFrame]';
            const rights = [...document.querySelectorAll('[data-testid=stMain] *')]
                .filter(e => !e.closest(scrolls) && e.offsetParent)
                .map(e => e.getBoundingClientRect().right);
            return Math.max(document.documentElement.scrollWidth, ...rights)
                - window.innerWidth;
            """
        )


def titles(page):
    return page.texts("[class*='st-key-card-'] .sk-title")


def cards(page, name):
    return page.all(f"[class*='st-key-card-{name}-']")


def test_cards_likes_and_new_users(driver, shop):
    page = Page(driver, shop)
    page.wait(lambda: len(page.buttons("Like")) == len(titles(page)) == 12)
    assert "What adds to the score" in page.body()
    assert len({round(c.size["height"]) for c in cards(page, "user")[:4]}) == 1
    page.wait(
        lambda: driver.execute_script(
            "const all = css => [...document.querySelectorAll(css)];"
            "return all('.sk-picture img').every(i => i.naturalWidth > 0)"
            " && all('.sk-strip img').length > 0 && all('audio').length == 12"
            " && all('audio').every(p => p.duration > 0)"
        )
    )
    before = titles(page)
    page.click("Like", 3)
    page.wait(lambda: page.buttons("Undo"))
    assert before[3] not in titles(page)
    assert f"Liked: {before[3]}" in page.body()
    assert any("\u2192" in text for text in page.texts(".sk-tag"))
    page.click("Undo")
    page.wait(lambda: titles(page) == before)
    page.type("Find a user", "somebody new")
    page.wait(lambda: "that of a new user" in page.body())
    page.click("Like")
    page.wait(lambda: "History: 1 item" in page.body())
    assert page.hosts() == {urlsplit(shop).netloc}


def test_two_models_and_searches(driver, shop, table, folder, tmp_path):
    page = Page(driver, shop)
    page.click("Compare")
    page.wait(lambda: len(page.all(".sk-pair h4")) == 2)
    assert "10 in both, 0 only on the left" in page.body()
    left, right = page.all(".sk-pair > div")
    assert left.rect["y"] == right.rect["y"]
    assert left.rect["x"] + left.rect["width"] <= right.rect["x"]

    page.click("Search")
    page.type("Words", table["description"][4])
    page.wait(lambda: len(cards(page, "found")) == 24)
    page.type("Words", Keys.BACKSPACE)
    page.wait(lambda: not cards(page, "found"))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    [upload] = page.wait(lambda: page.all("input[type=file]"))
    upload.send_keys(str(tmp_path / "broken.png"))
    page.wait(lambda: page.all("[data-testid='stAlert']"))
    assert "is not a readable picture" in page.texts("[data-testid='stAlert']")[0]
    [upload] = page.all("input[type=file]")
    upload.send_keys(str(folder / table["image"][4]))
    page.wait(lambda: len(cards(page, "found")) == 24)

    page.click("Like an item")
    page.type("Find an item", "item-0003")
    page.wait(lambda: len(cards(page, "found")) == 24)
    assert page.hosts() == {urlsplit(shop).netloc}


def test_a_narrow_page_in_the_dark(driver, shop):
    feature = {"name": "prefers-color-scheme", "value": "dark"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    page = Page(driver, shop, 390, 844)
    [app] = page.all("[data-testid='stApp']")
    assert app.value_of_css_property("background-color") == "rgba(20, 23, 28, 1)"
    for view in [*VIEWS, VIEWS[0]]:
        page.click(view)
        page.wait(lambda: page.widest() <= 0)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.fixture(scope="module")
def odd(rec, saved, folder):
    """A table with markup for titles, and broken, missing and forbidden pictures."""
    ids = rec.item_index_
    pictures = ["broken.png", "none.png", "../secret.png", "/etc/hostname", None]
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    pd.DataFrame(
        {
            "item_id": [*ids, "unknown"],
            "title": [EVIL, SCRIPTS] * (len(ids) // 2) + [EVIL],
            "image": (pictures * len(ids))[: len(ids) + 1],
        }
    ).to_csv(folder / "odd.csv", index=False)
    with serving("'model', items='odd.csv'", folder) as url:
        yield url


def test_markup_and_broken_pictures(driver, odd):
    page = Page(driver, odd)
    [app] = page.all("[data-testid='stApp']")
    assert app.value_of_css_property("background-color") == "rgba(255, 255, 255, 1)"
    said = set(page.texts(".sk-picture span"))
    assert said <= {
        "Picture cannot be read",
        "Picture file is missing",
        "Picture file may not be read",
        "No picture",
    }
    assert len(said) > 2
    assert {EVIL, SCRIPTS} <= set(titles(page))
    page.click("Like", titles(page).index(EVIL))
    page.wait(lambda: f"Liked: {EVIL}" in page.body())
    page.click("Search")
    page.wait(lambda: cards(page, "found"))
    page.click("The model")
    page.wait(lambda: "1 of its rows are no items" in page.body())
    assert driver.title == "skmmrec"
    assert page.hosts() == {urlsplit(odd).netloc}


def test_an_empty_catalogue_shows_ids(driver, saved, folder):
    (folder / "empty.csv").write_text("item_id,title,image\n")
    with serving("'model', items='empty.csv'", folder) as url:
        page = Page(driver, url, 390)
        assert all(title.startswith("item-") for title in titles(page))
        page.click("The model")
        page.wait(lambda: "There is no table of items" in page.body())
        assert page.widest() <= 0


def test_likes_are_written_to_a_store_that_records(driver, rec, folder, table):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # feast imports much that is deprecated
        from skmmrec.feature_store import OnlineRecommender, init_repo, publish
    repo = init_repo(folder / "repo")
    publish(rec, repo, features=table.set_index("item_id")[["price"]])
    with serving("'repo', items='items.csv', record=True", folder) as url:
        page = Page(driver, url)
        before = titles(page)
        assert "written to the store" in page.body()
        page.click("Like", 2)
        page.wait(lambda: f"Liked: {before[2]}" in page.body())
        assert not page.buttons("Undo")
        page.type("Only items where", "price < 10")
        page.wait(lambda: len(titles(page)) < 12)
        page.type("Only items where", "prise < 10")
        page.wait(lambda: "prise" in "".join(page.texts("[data-testid='stAlert']")))
        page.click("The model")
        page.wait(lambda: "1 events" in page.body())
    events = OnlineRecommender(repo).feedback()
    by_title = dict(zip(table["title"], table["item_id"], strict=True))
    assert events["item_id"].tolist() == [by_title[before[2]]]
