"""`hemabridge study`: Blocks 1 and 2 of the paper on two sites, as one run that can be killed and resumed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning_fabric import Fabric

from hemabridge.classifiers.protocol import Classifier
from hemabridge.evaluation.predictions import Predictions, write_predictions
from hemabridge.evaluation.results import StudyResults
from hemabridge.evaluation.rows import ORIGINAL
from hemabridge.imaging.files import atomic_write, write_image
from hemabridge.progress import Progress, silent
from hemabridge.report.report import write_study_report
from hemabridge.training.devices import one_process
from hemabridge.training.snapshots import list_snapshots
from hemabridge.training.stopping import hold_folder
from hemabridge.translators.neural import NeuralStandardizer
from hemabridge.workflows.agreeing import AgreementStudy
from hemabridge.workflows.recipe import AgreementRecipe, StudyRecipe
from hemabridge.workflows.restained import Restained
from hemabridge.workflows.run_folder import describe_run, versions
from hemabridge.workflows.stages import folder_name
from hemabridge.workflows.study_classifiers import StudyClassifiers
from hemabridge.workflows.study_inputs import SOURCE, TARGET, StudyInputs
from hemabridge.workflows.study_results import (
    collect,
    draw_figure_4,
    loss_curves,
    structure_facts,
    study_facts,
    study_pictures,
)
from hemabridge.workflows.study_translation import StudyTranslation


def study(recipe: StudyRecipe, out: Path, *, fabric: Fabric | None = None, progress: Progress = silent) -> StudyResults:
    """Run, or resume, a study; write `results.json`, `predictions.csv`, `figure-4.png` and `report.html` to `out`.

    Split both sites, fine-tune the classifiers on the target, train the translator, re-stain the source at each tested
    epoch, test on the source's test part, original and re-stained; fine-tune again on the source's training part,
    original and re-stained, and test again. A stage whose inputs are unchanged is not done again.

    Raises:
        Interrupted: a signal stopped it; the same call goes on from there.
        HemabridgeError: something else that the message explains.
    """
    fabric = fabric or Fabric(accelerator="auto", devices=1)
    one_process(fabric, "a study")
    with hold_folder(out):
        return Study(recipe, out, fabric, progress).run()


class Study:
    """The stages of one study, in their order."""

    def __init__(self, recipe: StudyRecipe, out: Path, fabric: Fabric, progress: Progress) -> None:
        self.recipe, self.out = recipe, out
        self.inputs = StudyInputs(recipe, out, fabric, progress)
        self.classifiers = StudyClassifiers(self.inputs)

    def run(self) -> StudyResults:
        """Do all stages that are not done, and write what was found."""
        describe_run(self.out, self.recipe, str(self.inputs.fabric.device))
        for wish in self.recipe.classifiers:
            self.classifiers.check(wish)
        classifiers = {wish.name: self.classifiers.get(wish) for wish in self.recipe.classifiers}
        restained = StudyTranslation(self.inputs).run()
        predictions = [
            p for name, classifier in classifiers.items() for p in self.classifiers.test(name, classifier, restained)
        ]
        if self.recipe.again is not None:
            predictions += [p for wish in self.recipe.classifiers for p in self.classifiers.again(wish, restained)]
        seen = {(r.method, r.snapshot_name): r.seen for r in restained}
        if self.recipe.agreement is not None:
            agreement = self._agreement(self.recipe.agreement, classifiers, restained)
            agreed = agreement.run(self.inputs.stages, self.inputs.fabric, self.inputs.progress)
            seen |= {(p.images, None): agreement.files_seen for p in agreed if p.images != ORIGINAL}
            predictions += agreed
        return self._report(predictions, restained, seen)

    def _agreement(
        self, wish: AgreementRecipe, classifiers: Mapping[str, Classifier], restained: Sequence[Restained]
    ) -> AgreementStudy:
        last = restained[-1].snapshot
        trained = [f"classifiers/{folder_name(w.name)}" for w in self.recipe.classifiers if w.train is not None]
        return AgreementStudy(
            recipe=wish,
            seed=self.recipe.seed,
            sites=(self.inputs.source.name, self.inputs.target.name),
            classifiers=classifiers,
            snapshots={name: list_snapshots(self.out / name)[-1].path for name in trained},
            translator=NeuralStandardizer.from_snapshot(last.path) if last is not None and wish.translator else None,
            target=self.inputs.cells(TARGET, "train"),
            seen=self.inputs.cells(SOURCE, *self.inputs.seen_parts),
            labelled=self.inputs.cells(SOURCE, "train"),
            home=self.inputs.cells(TARGET, "test"),
            test=self.inputs.cells(SOURCE, "test"),
            inputs={
                "classifiers": [w.model_dump(mode="json") for w in self.recipe.classifiers],
                "trained": [self.inputs.stages.key(name) for name in trained],
                "translator": self.inputs.stages.key("translator"),
                "tested_epochs": self.recipe.tested_epochs,
                "source": self.inputs.source.described(),
                "order": self.inputs.source.listed(),
                "mode": self.recipe.mode,
                "size_px": self.recipe.size_px,
            },
        )

    def _report(
        self,
        predictions: Sequence[Predictions],
        restained: Sequence[Restained],
        seen: Mapping[tuple[str, str | None], frozenset[str]],
    ) -> StudyResults:
        test, home = self.inputs.cells(SOURCE, "test"), self.inputs.cells(TARGET, "test")
        truth = self.inputs.truth()
        facts = study_facts(self.recipe, self.inputs.source, self.inputs.target, restained)
        facts |= structure_facts(test, restained)
        facts |= {f"seconds, {name}": seconds for name, seconds in self.inputs.stages.seconds().items()}
        results = collect(
            self.recipe, self.inputs.classes, predictions, test, restained, truth, facts | versions(), seen
        )
        write_predictions(predictions, self.inputs.classes, self.out / "predictions.csv")
        with atomic_write(self.out / "results.json") as temporary:
            temporary.write_text(results.to_json(), encoding="utf-8")
        picture = draw_figure_4(self.inputs.classes, test, restained, home, truth)
        write_image(self.out / "figure-4.png", picture)
        losses = loss_curves(self.out / "translator" / "events.jsonl")
        shown = study_pictures(self.inputs.classes, test, restained, home, truth, losses)
        write_study_report(results, shown, self.out / "report.html")
        return results
