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
    """What a user does with a page.

    Streamlit may replace an element at any moment. So what is asked of elements is
    asked by one script, and none is kept between two questions; what is typed or
    uploaded is repeated if its field was replaced.
    """

    def __init__(self, driver, url, width=1280, height=1000):
        self.driver, self.url = driver, url
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        driver.get_log("performance")
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**size, "mobile": False}
        )
        driver.get(url)
        self.wait(lambda: self.count(".sk-head"))
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
        self.wait(lambda: not self.count(busy))

    def ask(self, css, what, *arguments):
        """What a JavaScript expression says of each element, `e`, given arguments."""
        script = (
            "const [css, ...given] = arguments;"
            f"return [...document.querySelectorAll(css)].map(e => {what});"
        )
        return self.driver.execute_script(script, css, *arguments)

    def count(self, css):
        return len(self.ask(css, "1"))

    def texts(self, css):
        return self.ask(css, "e.innerText.trim()")

    def boxes(self, css):
        return self.ask(css, "e.getBoundingClientRect().toJSON()")

    def style(self, css, name):
        [value] = self.ask(css, "getComputedStyle(e)[given[0]]", name)
        return value

    def buttons(self, label):
        """How many buttons have a label, before which an icon may stand."""
        return sum(text.endswith(label) for text in self.texts("button"))

    def click(self, label, n=0):
        script = (
            "const [label, n] = arguments;"
            "const button = [...document.querySelectorAll('button')]"
            "    .filter(e => e.innerText.trim().endsWith(label))[n];"
            "button?.click(); return Boolean(button);"
        )
        self.wait(lambda: self.driver.execute_script(script, label, n))
        self.settle()

    def send(self, css, *keys):
        """Send keys, or the name of a file, to the one element that there is."""

        def sent():
            [field] = self.driver.find_elements(By.CSS_SELECTOR, css)
            field.send_keys(*keys)
            return True

        self.wait(lambda: self.count(css) == 1)
        self.wait(sent)

    def type(self, label, text):
        keys = (Keys.CONTROL, "a", Keys.NULL, text, Keys.ENTER)
        self.send(f"input[aria-label='{label}']", *keys)
        self.settle()

    def upload(self, path):
        self.send("input[type=file]", str(path))

    def body(self):
        [text] = self.texts("body")
        return text

    def says(self, text):
        self.wait(lambda: text in self.body())

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


APP = "[data-testid='stApp']"
ALERT = "[data-testid='stAlert']"


def titles(page):
    return page.texts("[class*='st-key-card-'] .sk-title")


def cards(name):
    return f"[class*='st-key-card-{name}-']"


def test_cards_likes_and_new_users(driver, shop):
    page = Page(driver, shop)
    page.wait(lambda: page.buttons("Like") == len(titles(page)) == 12)
    page.says("What adds to the score")
    assert len({round(box["height"]) for box in page.boxes(cards("user"))[:4]}) == 1
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
    page.wait(lambda: before[3] not in titles(page))
    page.says(f"Liked: {before[3]}")
    page.wait(lambda: any("\u2192" in text for text in page.texts(".sk-tag")))
    page.click("Undo")
    page.wait(lambda: titles(page) == before)
    page.type("Find a user", "somebody new")
    page.says("that of a new user")
    page.click("Like")
    page.says("History: 1 item")
    assert page.hosts() == {urlsplit(shop).netloc}


def test_two_models_and_searches(driver, shop, table, folder, tmp_path):
    page = Page(driver, shop)
    page.click("Compare")
    page.wait(lambda: page.count(".sk-pair h4") == 2)
    page.says("10 in both, 0 only on the left")
    left, right = page.boxes(".sk-pair > div")
    assert left["top"] == right["top"]
    assert left["right"] <= right["left"]

    page.click("Search")
    page.type("Words", table["description"][4])
    page.wait(lambda: page.count(cards("found")) == 24)
    page.type("Words", Keys.BACKSPACE)
    page.wait(lambda: not page.count(cards("found")))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    page.upload(tmp_path / "broken.png")
    page.wait(lambda: "is not a readable picture" in "".join(page.texts(ALERT)))
    page.upload(folder / table["image"][4])
    page.wait(lambda: page.count(cards("found")) == 24)

    page.click("Like an item")
    page.type("Find an item", "item-0003")
    page.wait(lambda: page.count(cards("found")) == 24)
    assert page.hosts() == {urlsplit(shop).netloc}


def test_a_narrow_page_in_the_dark(driver, shop):
    feature = {"name": "prefers-color-scheme", "value": "dark"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    page = Page(driver, shop, 390, 844)
    assert page.style(APP, "background-color") == "rgb(20, 23, 28)"
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
    assert page.style(APP, "background-color") == "rgb(255, 255, 255)"
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
    page.says(f"Liked: {EVIL}")
    page.click("Search")
    page.wait(lambda: page.count(cards("found")))
    page.click("The model")
    page.says("1 of its rows are no items")
    assert driver.title == "skmmrec"
    assert page.hosts() == {urlsplit(odd).netloc}


def test_an_empty_catalogue_shows_ids(driver, saved, folder):
    (folder / "empty.csv").write_text("item_id,title,image\n")
    with serving("'model', items='empty.csv'", folder) as url:
        page = Page(driver, url, 390)
        assert all(title.startswith("item-") for title in titles(page))
        page.click("The model")
        page.says("There is no table of items")
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
        page.says("written to the store")
        page.click("Like", 2)
        page.says(f"Liked: {before[2]}")
        assert not page.buttons("Undo")
        page.type("Only items where", "price < 10")
        page.wait(lambda: len(titles(page)) < 12)
        page.type("Only items where", "prise < 10")
        page.wait(lambda: "prise" in "".join(page.texts(ALERT)))
        page.click("The model")
        page.says("1 events")
    events = OnlineRecommender(repo).feedback()
    by_title = dict(zip(table["title"], table["item_id"], strict=True))
    assert events["item_id"].tolist() == [by_title[before[2]]]
