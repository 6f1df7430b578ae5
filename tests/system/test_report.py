"""report.html, opened in a browser: wide and narrow, light and dark, without a network."""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from runner.cli.overrides import as_override
from tests import forked
from tests.conftest import Run

PICTURES = True
HOSTILE = "<script>document.title=1</script><img src=x onerror=alert(1)>\x1b[2J"
CLASSES = ["ant", HOSTILE, "</script><b>cat"]
CONF = """
loader: {name: table, data_file: t.csv, label: label, normalization: pointwise, validation_ratio: 0.25, minibatch_size: 20}
layers:
  fc1: {type: all2all_tanh, output_sample_shape: 5, learning_rate: 0.05}
  out: {type: softmax, output_sample_shape: 3, learning_rate: 0.05}
decision: {max_epochs: 3}
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Debian's Chromium, without a window; what it logs and asks a network for is kept."""
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", f"user-data-dir={profile}"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture
def trained(tmp_path: Path, veles_run: Run) -> Path:
    """A folder with the conf file and a table whose classes have names that a page or a terminal might obey."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "t.yaml").write_text(CONF)
    rng = random.Random(1)
    rows = [f"{rng.gauss(k, 1):.3f},{rng.gauss(-k, 1):.3f},{CLASSES[k]}\n" for k in (i % 3 for i in range(120))]
    (tmp_path / "t.csv").write_text("".join(["a,b,label\n", *rows]))
    return tmp_path


def opened(browser: Chrome, path: Path, width: int, dark: bool) -> None:
    """Opens a page, which must fit the width, say nothing on the console and ask no network."""
    scheme = "dark" if dark else "light"
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(path.as_uri())
    assert browser.get_log("browser") == []
    events = (json.loads(row["message"])["message"] for row in browser.get_log("performance"))
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith(("data:", "chrome:"))} == {path.as_uri()}  # its own start page aside
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")


def legend(browser: Chrome) -> list[str]:
    return [
        cell.text
        for cell in browser.find_elements(By.CSS_SELECTOR, "#curves .u-legend")[0].find_elements(By.CSS_SELECTOR, ".u-value")
    ]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_run(width: int, dark: bool, browser: Chrome, trained: Path, veles_run: Run) -> None:
    done = veles_run("conf=t", as_override("workflow.name", HOSTILE), "seed=1", "hydra.run.dir=run", "plotters=false")
    path = trained / "run" / "report.html"
    assert "Report: run/report.html\n" in done.stdout
    assert path.stat().st_size < 2_000_000
    opened(browser, path, width, dark)
    assert browser.find_element(By.TAG_NAME, "h1").text == HOSTILE.replace("\x1b", "\\x1b")
    assert browser.title == HOSTILE.replace("\x1b", "\\x1b")
    text = browser.find_element(By.TAG_NAME, "body").text
    for wanted in ("all2all_tanh", "finished", "conf=t", "Processes of this run"):
        assert wanted in text
    # The table of confusion adds up to the validation set, and its classes have their names.
    table = browser.find_element(By.CSS_SELECTOR, "table.confusion")
    names = [cell.get_attribute("textContent") for cell in table.find_elements(By.CSS_SELECTOR, "tbody th")]
    assert sorted(names) == sorted(name.replace("\x1b", "\\x1b") for name in CLASSES)
    assert sum(int(cell.text or 0) for cell in table.find_elements(By.TAG_NAME, "td") if cell.text.isdecimal()) == 30
    # Pointed at, a curve tells its values: at the right end those of the last epoch.
    assert set(legend(browser)) == {"\u2013"}
    over = browser.find_element(By.CSS_SELECTOR, "#curves .u-over")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", over)
    ActionChains(browser).move_to_element_with_offset(over, over.size["width"] // 2 - 2, 0).perform()
    assert [title.text for title in browser.find_elements(By.CSS_SELECTOR, "#curves h2")] == [
        "error (%)",
        "loss",
        "learning rate",
    ]
    epoch, train, validation = legend(browser)
    last = done.stdout.split("Epoch 3: ")[1].splitlines()[0]
    assert epoch == "3"
    assert f"train {float(train):.2f} %, validation {float(validation):.2f} %" in last
    # What is dragged over is zoomed.
    ActionChains(browser).drag_and_drop_by_offset(over, over.size["width"] // 3, 0).perform()
    assert browser.find_elements(By.CSS_SELECTOR, "#timeline canvas")
    graph = browser.find_element(By.CSS_SELECTOR, "img.graph")
    assert browser.execute_script("return arguments[0].naturalWidth", graph) > 100
    # On demand it is the same, but for what only the run knew.
    path.unlink()
    done = forked.run(["report", "run"], cwd=trained, environment=os.environ, timeout=120, command="veles-snapshots")
    assert (done.returncode, done.stdout) == (0, "run/report.html\n"), done.stderr
    opened(browser, path, width, not dark)
    assert browser.find_elements(By.CSS_SELECTOR, "table.confusion")
    assert browser.get_log("browser") == []


def test_a_sweep(browser: Chrome, trained: Path, veles_run: Run) -> None:
    swept = ("layers.fc1.learning_rate=0.01,0.1", "layers.fc1.output_sample_shape=2,10", f"workflow.name='{HOSTILE}',b")
    veles_run("-m", "conf=t", "seed=1", "decision.max_epochs=1", *swept, "hydra.sweep.dir=sweep")
    assert not list((trained / "sweep").glob("*/report.html"))
    for width, dark in ((1280, True), (390, False)):
        opened(browser, trained / "sweep" / "report.html", width, dark)
        assert len(browser.find_elements(By.CSS_SELECTOR, "#parallel path")) == 8
    # The best job is in green, and says which it is.
    best = json.loads((trained / "sweep" / "sweep.json").read_text())["best"]
    browser.execute_script("document.querySelector('#parallel path.best').dispatchEvent(new Event('pointerenter'))")
    assert browser.find_element(By.CSS_SELECTOR, "#parallel .reading").text.startswith(f"job {best}: ")
    column = lambda number: [row.text for row in browser.find_elements(By.CSS_SELECTOR, f"tbody td:nth-child({number})")][:8]  # noqa: E731
    assert column(1) == list("01234567")
    head = browser.find_element(By.CSS_SELECTOR, "thead th:nth-child(3) button")
    head.click()
    assert column(3) == ["2"] * 4 + ["10"] * 4
    head.click()
    assert column(3) == ["10"] * 4 + ["2"] * 4
    assert HOSTILE.replace("\x1b", "\\x1b") in "".join(column(4))
    assert browser.get_log("browser") == []


def test_what_cannot_be_reported_is_told(trained: Path, veles_run: Run) -> None:
    (trained / "run").mkdir()
    (trained / "run" / "report.html").mkdir()
    done = veles_run("conf=t", "seed=1", "decision.max_epochs=1", "hydra.run.dir=run", "plotters=false")
    assert done.stdout.count("There is no report (ConfigError: ") == 1
    veles_run("conf=t", "seed=1", "decision.max_epochs=1", "hydra.run.dir=without", "report=false", "plotters=false")
    assert not (trained / "without" / "report.html").exists()
