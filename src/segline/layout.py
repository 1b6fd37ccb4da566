"""Every file name and folder of the line, in one place. Nothing here touches the disk except `find_checkout`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segline import environment
from segline.errors import ParametersError

_DVC_COPIES = (".dvc", "tmp", "exps")


@dataclass(frozen=True)
class ModelFolder:
    """`models/<model>/`: explains itself and needs nothing else. Each file is one stage's output."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def weights(self) -> Path:
        """train: state dict of the best epoch (`torch.save`, tensors only)."""
        return self.path / "weights.pt"

    @property
    def card(self) -> Path:
        """train: what the model is: parameters, classes, preprocessing, versions, key (see `segline.card`)."""
        return self.path / "model.json"

    @property
    def history(self) -> Path:
        """train: one CSV row per epoch; first column `epoch`."""
        return self.path / "history.csv"

    @property
    def trained_on(self) -> Path:
        """train: hashes of the images that it learnt from or was steered by (see `segline.data.trained_on`)."""
        return self.path / "trained_on.json"

    @property
    def metrics(self) -> Path:
        """evaluate: flat DVC metrics."""
        return self.path / "metrics.json"

    @property
    def counts(self) -> Path:
        """evaluate: what was counted in each image, of which all figures and intervals are made (see `segline.metrics.base`)."""
        return self.path / "counts.npz"

    @property
    def plots(self) -> Path:
        """evaluate: folder of pictures and tables for `dvc plots show` and MLflow."""
        return self.path / "plots"

    @property
    def onnx(self) -> Path:
        """export: the model with its preprocessing."""
        return self.path / "model.onnx"

    @property
    def parity(self) -> Path:
        """export: proof that the ONNX model is the trained one; its latency, what the model costs otherwise, and its licences."""
        return self.path / "parity.json"

    @property
    def receipt(self) -> Path:
        """register: where the registry holds this model (name, version, digest, run)."""
        return self.path / "registered.json"


@dataclass(frozen=True)
class DataPlanFolder:
    """`data/params/`: a plan for each stage that makes the data."""

    path: Path

    @property
    def download(self) -> Path:
        return self.path / "download.json"

    @property
    def prepare(self) -> Path:
        return self.path / "prepare.json"


@dataclass(frozen=True)
class CheckFolder:
    """`data/check/`: what `prepare` found, for people."""

    path: Path

    @property
    def page(self) -> Path:
        """Findings, classes, sizes and samples; needs no other file."""
        return self.path / "check.html"

    @property
    def samples(self) -> Path:
        """Images with their truth."""
        return self.path / "samples.png"


@dataclass(frozen=True)
class PlanFolder:
    """`data/plan/<model>/`: a plan for each stage of a model, and why `auto` became what it is."""

    path: Path

    @property
    def train(self) -> Path:
        return self.path / "train.json"

    @property
    def evaluate(self) -> Path:
        return self.path / "evaluate.json"

    @property
    def export(self) -> Path:
        return self.path / "export.json"

    @property
    def register(self) -> Path:
        return self.path / "register.json"

    @property
    def decisions(self) -> Path:
        """For people; no stage depends on it."""
        return self.path / "decisions.json"


@dataclass(frozen=True)
class PublicFolder:
    """`data/<name>/fetched/`: a public data set as it was fetched. Neither git nor DVC looks into it: its content is said by the catalogue."""

    path: Path

    @property
    def archives(self) -> Path:
        """What is being fetched, and what somebody put there by hand."""
        return self.path / "archives"

    @property
    def files(self) -> Path:
        """The unpacked archives; or a link to where they are."""
        return self.path / "files"

    @property
    def receipt(self) -> Path:
        """Of which version of the catalogue's entry the files are."""
        return self.path / "receipt.json"

    @property
    def lock(self) -> Path:
        """Held while the files are made."""
        return self.path / ".lock"


@dataclass(frozen=True)
class Checkout:
    """One checkout of the project: the main one, or a temporary copy that DVC made of it for an experiment."""

    root: Path

    @property
    def main(self) -> Path:
        """The main checkout: the tracking store and the resume folder live there also when `root` is a temporary copy."""
        if environment.home():
            return Path(str(environment.home())).resolve()
        parts = self.root.resolve().parts
        for i in range(len(parts) - len(_DVC_COPIES)):
            if parts[i : i + len(_DVC_COPIES)] == _DVC_COPIES:
                return Path(*parts[:i])
        return self.root.resolve()

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def data_plan(self) -> DataPlanFolder:
        """params: what `download` and `prepare` depend on."""
        return DataPlanFolder(self.root / "data" / "params")

    @property
    def weights(self) -> Path:
        """plan: a link for each weight file that params.yaml names, so that DVC sees when its content changes."""
        return self.root / "data" / "weights"

    @property
    def plans(self) -> Path:
        return self.root / "data" / "plan"

    def plan(self, model: str) -> PlanFolder:
        """plan: what the stages of one model depend on."""
        return PlanFolder(self.plans / model)

    @property
    def raw(self) -> Path:
        """download: `manifest.json` (path, size, hash of each source file) and, for data sets that Segline fetches or makes, their files."""
        return self.root / "data" / "raw"

    def public(self, name: str) -> PublicFolder:
        """Where a public data set is kept: in the main checkout, for its temporary copies too."""
        return PublicFolder(self.main / "data" / name / "fetched")

    @property
    def prepared(self) -> Path:
        """prepare: the one layout that everything after it reads (see `segline.data.store`)."""
        return self.root / "data" / "prepared"

    @property
    def check(self) -> CheckFolder:
        """prepare: what it found, also where it stopped because of that."""
        return CheckFolder(self.root / "data" / "check")

    @property
    def models(self) -> Path:
        return self.root / "models"

    def model(self, name: str) -> ModelFolder:
        return ModelFolder(self.models / name)

    @property
    def resume(self) -> Path:
        """Resumable checkpoints, by key; outside DVC's outputs."""
        return self.main / ".segline" / "resume"

    @property
    def counts(self) -> Path:
        """What was counted of registered models on a split, by content; asked again by promotion."""
        return self.main / ".segline" / "counts"

    @property
    def image_facts(self) -> Path:
        """Size, brightness and objects of scored images, by which comparisons group them (see `segline.comparison.facts`). It may be removed at any time."""
        return self.main / ".segline" / "facts"

    @property
    def truth_maps(self) -> Path:
        """Maps of the truth that losses read, by the content that they are made of (see `segline.training.truth_maps`). It may be removed at any time."""
        return self.main / ".segline" / "maps"

    @property
    def default_store(self) -> str:
        """Tracking store when neither params.yaml nor the environment names one."""
        return f"sqlite:///{self.main / 'mlflow.db'}"

    @property
    def default_artifacts(self) -> Path:
        """Where the default store keeps artifacts."""
        return self.main / "mlartifacts"


def expanded(given: str) -> Path:
    """A path as a person gives it, with `~` and `~user` put in full. Raises ParametersError where the machine knows no such home folder."""
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise ParametersError(f"'{given}' begins with a home folder that this machine does not know; write the path in full.") from None


def find_checkout(start: Path) -> Checkout:
    """The checkout that contains `start`: the nearest folder upwards with `params.yaml` and `dvc.yaml`.

    Raises ParametersError when there is none.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file():
            return Checkout(folder)
    raise ParametersError(f"{start} is not inside a Segline checkout: no folder above it holds params.yaml and dvc.yaml. Change into the checkout first.")
