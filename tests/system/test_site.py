"""The documentation as a site: it builds without a warning, and its search finds what people look for."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import ROOT

SOUGHT = {
    "early stopping": "howto/training.html#early-stopping",
    "learning rate schedule": "howto/training.html#learning-rate-schedules-and-warm-up",
    "fine tune": "howto/training.html#fine-tune-a-trained-network",
    "augmentation": "howto/training.html#data-augmentation",
    "imbalanced classes": "howto/training.html#imbalanced-classes",
    "gradient clipping": "howto/training.html#gradient-clipping-and-accumulation",
    "F1 AUROC": "howto/training.html#early-stopping-by-f1-auroc-accuracy-choose-the-best-epoch-by-another-metric",
    "CSV": "howto/data.html#train-on-a-csv-file",
    "regression": "howto/data.html#regression-predict-a-number",
    "resume ctrl-c": "howto/resume.html#resume-after-ctrl-c-or-after-a-kill",
    "slurm requeue": "howto/resume.html#slurm-requeue-before-the-time-limit",
    "more epochs": "howto/resume.html#train-longer-more-epochs",
    "compare two runs": "howto/manage.html#compare-two-runs",
    "hyperparameter search optuna": "howto/manage.html#hyperparameter-search-with-optuna",
    "onnx export": "howto/deploy.html#export-to-onnx",
    "confusion matrix": "howto/deploy.html#accuracy-precision-recall-confusion-matrix",
    "tensorboard": "howto/tools.html#tensorboard",
    "notebook jupyter": "howto/tools.html#jupyter-notebook",
    "gpu": "howto/machines.html#train-on-a-gpu",
    "s3": "howto/machines.html#snapshots-in-s3-google-cloud-or-azure",
    "database odbc": "howto/machines.html#snapshots-in-a-company-database",
    "unbalanced table class weights": "howto/training.html#imbalanced-classes",
    "save only the best model": "howto/training.html#save-only-the-best-model",
    "mixed precision bfloat16": "howto/training.html#double-precision-mixed-precision",
    "multi-GPU": "howto/machines.html#several-processes-several-gpus",
    "crash": "howto/resume.html#resume-after-ctrl-c-or-after-a-kill",
    "batch size": "howto/data.html#change-the-batch-size",
    "training loop GAN": "howto/training.html#a-training-loop-of-your-own-gan-distillation-several-optimizers",
    "own unit callback": "howto/training.html#write-a-unit-of-your-own-a-callback-a-hook-something-in-each-minibatch",
    "normalise": "howto/data.html#normalize-the-data",
    "one hot": "howto/data.html#leave-columns-out-and-encode-text-columns",
    "encryption": "howto/machines.html#sign-snapshots",
    "configuration finished run": "howto/tools.html#see-the-configuration-and-the-network",
    "cite licence": "howto/faq.html#how-do-i-cite-it-and-what-is-its-licence",
    "debug pdb": "howto/tools.html#debug-breakpoint-pdb-print",
}
"""What people look for, and the section that answers it."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the site; links and anchors that lead nowhere are warnings, which are errors unless mkdocs is to be quiet."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_what_people_look_for_is_in_the_index_of_the_search(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    words = {entry["location"]: f"{entry['title']} {entry['text']}".lower() for entry in index}
    missing = [
        (query, place) for query, place in SOUGHT.items() if not all(w in words.get(place, "") for w in query.lower().split())
    ]
    assert missing == []


def test_the_python_reference_has_what_is_public(site: Path) -> None:
    import runner

    page = (site / "api.html").read_text()
    assert [name for name in runner.__all__ if not re.search(rf'id="runner\.[\w.]*\b{name}"', page)] == []


def test_links_from_the_readme_lead_somewhere(site: Path) -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        for path, _, anchor in re.findall(r"\]\((?!https?:)([^)#]+)(#([^)]+))?\)", (ROOT / name).read_text()):
            assert (ROOT / path).exists(), f"{name}: {path}"
            page = site / Path(path).relative_to("docs").with_suffix(".html") if anchor else None
            assert page is None or f'id="{anchor}"' in page.read_text(), f"{name}: {path}#{anchor}"


def test_the_torch_without_cuda_is_that_of_the_constraints() -> None:
    (pinned,) = re.findall(r"^torch==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    for page in (ROOT / "README.md", ROOT / "docs" / "howto" / "faq.md"):
        assert f"pip install {pinned} --index-url" in page.read_text()
