"""The notebook among the examples, run in a kernel; and the server, asked by a client."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import HTTPError
from xml.etree import ElementTree

import pytest
import torch

from runner import restore
from tests.networks import trained
from tests.stored import HERE

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_notebook(tmp_path: Path) -> None:
    source = EXAMPLES / "mnist.ipynb"
    notebook = tmp_path / source.name
    notebook.write_bytes(source.read_bytes())
    command = [sys.executable, "-c", "from nbclient.cli import main; main()", "--inplace", str(notebook)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    shown = ["".join(cell["outputs"][-1]["data"]["text/plain"]) for cell in cells]
    pages = ["".join(output["data"]["text/html"]) for output in cells[1]["outputs"] if "text/html" in output.get("data", {})]
    assert len(pages) == 1  # the cell shows how far the run is in one place, and in the end what it has come to
    assert re.search(r"Best validation error: \d+\.\d\d % \(epoch \d\)", pages[0])
    curves = ElementTree.fromstring(pages[0]).findall(".//polyline")
    assert [curve.find("title").text for curve in curves] == ["train", "validation"]
    assert [len(curve.get("points").split()) for curve in curves] == [3, 3]
    assert shown[0] == "StandardWorkflow('mnist')"
    assert re.fullmatch(r"'Best validation error: \d+\.\d\d % \(epoch \d\)'", shown[1])
    assert len(shown[2].splitlines()) == 7  # two splits in each of three epochs
    assert shown[3] == "5"
    assert re.fullmatch(r"Restored\('snapshots/.*': StandardWorkflow\('mnist'\), epoch 5, error [\d.]+\)", shown[4])
    assert "(fc1): Dense(weights=50x784, bias=50, activation=tanh)" in shown[5]
    assert re.fullmatch(r"\[('\d', ){9}'\d'\]", shown[6])
    assert all(not cell["outputs"] for cell in json.loads(source.read_text())["cells"] if cell["cell_type"] == "code")


def test_the_history_of_a_workflow_and_attributes_of_that_name() -> None:
    workflow = trained()
    assert [(row["epoch"], row["split"]) for row in workflow.history][-2:] == [(3, "train"), (3, "validation")]
    workflow.history = ["one's own"]
    assert workflow.history == ["one's own"]


def ask(url: str, **body: object) -> dict[str, object]:
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def test_the_server() -> None:
    snapshot = HERE / "format2" / "dense_gz.pickle.gz"
    model = restore(snapshot).model()
    samples = torch.randn((4, *model.signature.input_shape), dtype=torch.float64)
    command = [sys.executable, str(EXAMPLES / "serve.py"), str(snapshot), "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = next(found[1] for line in process.stderr if (found := re.search(r"running on (http://[\d.:]+)", line)))
            assert ask(url)["classes"] == list(model.signature.class_names)
            found = ask(f"{url}/predict", samples=samples.tolist())
            with torch.inference_mode():
                expected = model(samples.to(model.signature.input_dtype))
            assert found["classes"] == model.classify(samples)
            assert torch.equal(torch.tensor(found["outputs"]), expected)
            for wrong in ([[1]], [["a"]], [[1], [1, 2]], []):
                with pytest.raises(HTTPError, match="422") as error:
                    ask(f"{url}/predict", samples=wrong)
                error.value.close()
        finally:
            process.terminate()
