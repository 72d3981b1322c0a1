"""`hemabridge serve`: the models behind the service, which answers as the commands do."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from hemabridge._version import __version__
from hemabridge.deployment.bundle import CARD
from hemabridge.errors import InputError
from hemabridge.fields.whole_field import FieldCheck
from hemabridge.imaging.dicom import DICOM_SUFFIXES
from hemabridge.imaging.files import reason_of
from hemabridge.imaging.provenance import mark_in
from hemabridge.imaging.threads import in_order, thread_count
from hemabridge.models import Model, open_model
from hemabridge.models.bundled import BundleModel
from hemabridge.models.restaining import NormalizerModel, Standardizers
from hemabridge.models.site_answer import SiteAnswer, answer_for
from hemabridge.progress import Progress
from hemabridge.review.connections import BoundedConnection
from hemabridge.review.security import is_loopback
from hemabridge.service.access import FEWEST_SIGNS, Access
from hemabridge.service.responses import (
    Classified,
    ClassifiedImage,
    Counted,
    FieldSettings,
    ImageSettings,
    NoSettings,
    Operation,
    RestainedImage,
    Served,
    SiteVerdict,
    Standardized,
)
from hemabridge.service.sent import Sent, SentFolder
from hemabridge.service.service_app import Limits, make_service_app
from hemabridge.workflows.adapt.adapted import Adapted, is_adapt_run
from hemabridge.workflows.adapt.apply import opened_for, opened_of
from hemabridge.workflows.classify.classify import predictions
from hemabridge.workflows.differential.opened import for_originals
from hemabridge.workflows.differential.sent_fields import Counting
from hemabridge.workflows.review.serve import serve_app
from hemabridge.workflows.standardize.one_image import (
    FAILURES,
    description_of,
    encoded_like,
    reason_against_suffix,
    restain,
)

UPLOAD_SECONDS: Final = 60.0
"""Time within which a request must have arrived as a whole."""

LARGEST_ANSWER: Final = 256 * 2**20
"""Bytes of the images of an answer, so that small files which become large ones cannot fill the memory."""

_MEDIA_TYPES: Final = {
    **dict.fromkeys((".jpg", ".jpe", ".jfif"), "image/jpeg"),
    ".tif": "image/tiff",
    **dict.fromkeys(DICOM_SUFFIXES, "application/dicom"),
}


class _Connection(BoundedConnection):
    """A connection with time to send images."""

    request_seconds = UPLOAD_SECONDS


def serve(
    model: Path,
    *,
    crop_px: int | None,
    host: str,
    port: int,
    token: str,
    limits: Limits,
    ready: Callable[[str], None],
) -> None:
    """Serve a model until SIGINT or SIGTERM. Images are kept in memory alone, and requests are not logged.

    Args:
        model: a bundle, the run folder of `hemabridge adapt`, or whatever `open_model` opens.
        crop_px: side of the square around a cell in new images, in pixels; None: that of the model.
        host: name or address to listen on.
        port: 0 takes a free one.
        token: that requests must state; may be empty where this computer alone reaches the service.
        limits: of requests.
        ready: called with the address once the service listens.

    Raises:
        ModelError: there is no model, or its file is damaged.
        InputError: the token is too short, or that address cannot be listened on.
    """
    if not is_loopback(host) and not token:
        raise InputError(f"expected a token, since other computers reach {host}; state it in the file of --token-file")
    if token and len(token) < FEWEST_SIGNS:
        raise InputError(f"expected a token of at least {FEWEST_SIGNS} characters, got {len(token)}; make a longer one")
    served = served_of(model, crop_px)
    app = make_service_app(served, limits, Access(token, only_loopback=is_loopback(host)))
    try:
        serve_app(app, host, port, ready, connection=_Connection)
    finally:
        app.state.line.end()


def served_of(path: Path, crop_px: int | None = None) -> Served:
    """Open a model, with its networks, and return all that it can do.

    Raises:
        ModelError: there is no model, or its file is damaged.
    """
    opened = _opened(path, crop_px)
    classifier, restainer = opened.classifier, opened.restainer
    operations = []
    if restainer is not None:
        work = _Restaining(restainer)
        _ = work.standardizers
        operations.append(
            Operation("standardize", "Re-stain images of single cells", ImageSettings, Standardized, work)
        )
    if classifier is not None:
        _ = classifier.classifier
        counting = Counting(for_originals(classifier, opened.adapted))
        naming = _Classifying(classifier, () if opened.adapted is None else opened.adapted.cautions)
        operations += [
            Operation("classify", "Classify images of single cells", NoSettings, Classified, naming),
            Operation("differential", "Count the cells of whole fields of a smear", FieldSettings, Counted, counting),
        ]
    known = [model.sha256 for model in (restainer, classifier) if model is not None]
    facts = {"version": __version__, "model": " ".join(dict.fromkeys(known))}
    return Served(tuple(operations), opened.card, facts)


@dataclass(frozen=True, eq=False)
class _Opened:
    """The models of a path, its card, and what `hemabridge adapt` found."""

    classifier: Model | None
    restainer: Model | None
    card: str
    adapted: Adapted | None = None


def _opened(path: Path, crop_px: int | None) -> _Opened:
    if is_adapt_run(path):
        if crop_px is not None:
            raise InputError(f"expected no --crop-px for a run of `hemabridge adapt`, which states its own: {path}")
        found = opened_for(path)
        card = _card_of(found.restainer, found.classifier)
        return _Opened(found.classifier, found.restainer, card, found.adapted)
    model = open_model(path, crop_px=crop_px)
    if isinstance(model, BundleModel):
        is_pair = model.own_classifier is not None and model.restainer is not None
        adapted = opened_of(model).adapted if is_pair else None
        return _Opened(model.own_classifier, model.restainer, model.bundle.text(CARD), adapted)
    if model.kind == "classifier":
        return _Opened(model, None, _card_of(model))
    return _Opened(None, model, _card_of(model))


def _card_of(*models: Model) -> str:
    """Return what the files of models say; a bundle has a card of its own."""
    lines = ["# Models of this service", ""]
    for model in models:
        classes = f", classes {', '.join(model.classes)}" if model.kind == "classifier" else ""
        guard = ", with a morphology guard" if model.kind != "classifier" and model.guard is not None else ""
        lines.append(f"- {model.kind}, SHA-256 {model.sha256}{classes}{guard}")
    lines += ["", "A bundle (`hemabridge export RUN BUNDLE`) has a card with measured rows, intended use and limits."]
    return "\n".join(lines) + "\n"


def _answer(folder: SentFolder, model: Model, progress: Progress) -> SiteAnswer | None:
    """Return whether images are in-distribution; None if the model cannot say, or none can be read."""
    try:
        return answer_for(model, folder.paths, progress, folder.images)
    except InputError:
        return None  # no image can be read; each is reported by itself


@dataclass(frozen=True, eq=False)
class _Restaining:
    model: Model

    @cached_property
    def standardizers(self) -> Standardizers:
        return Standardizers(self.model)

    @cached_property
    def identity(self) -> str:
        return self.model.identity + self.model.guard_identity()

    def __call__(self, sent: Sequence[Sent], settings: ImageSettings, progress: Progress) -> Standardized:
        folder = SentFolder(sent)
        site = _answer(folder, self.model, progress)
        check = FieldCheck.of(folder.paths, folder.images)
        threads = thread_count() if isinstance(self.model, NormalizerModel) else 1
        found: dict[int, RestainedImage] = {}
        total = 0

        def work(place: int) -> RestainedImage:
            name = sent[folder.order[place]].name
            return self._restained(folder, folder.paths[place], name, settings.format == "png", check)

        for place, image in enumerate(in_order(work, range(len(sent)), threads)):
            total += len(image.image)
            found[folder.order[place]] = image if total <= LARGEST_ANSWER else _left_out(image)
            progress("re-staining", place + 1, len(sent))
        return Standardized(
            model=self.identity, site=SiteVerdict.of(site), images=tuple(found[place] for place in sorted(found))
        )

    def _restained(self, folder: SentFolder, path: Path, name: str, as_png: bool, check: FieldCheck) -> RestainedImage:
        content, out = folder.images.contents[path], path.with_suffix(".png") if as_png else path
        sha256 = hashlib.sha256(content).hexdigest()
        if reason := reason_against_suffix(out):
            return RestainedImage(name=name, status="failed", reason=reason, sha256="")
        try:
            scale = folder.images.scale(path)
            made = restain(self.standardizers, folder.images.decoded(path), scale, check, path)
            mark = description_of(mark_in(content), scale, out)
            written = encoded_like(out, made, mark, lambda: content, self.identity)
        except FAILURES as error:
            return RestainedImage(name=name, status="failed", reason=reason_of(error, path), sha256="")
        return RestainedImage(
            name=name,
            status="restained",
            reason="",
            sha256=sha256,
            output_sha256=hashlib.sha256(written).hexdigest(),
            media_type=media_type_of(out),
            image=base64.b64encode(written).decode("ascii"),
            **made.columns,
        )


def _left_out(image: RestainedImage) -> RestainedImage:
    reason = f"expected images of at most {LARGEST_ANSWER:,} bytes in an answer, got more; send fewer in each request"
    return RestainedImage(name=image.name, status="failed", reason=reason, sha256=image.sha256)


@dataclass(frozen=True, eq=False)
class _Classifying:
    model: Model
    cautions: tuple[str, ...]

    def __call__(self, sent: Sequence[Sent], settings: NoSettings, progress: Progress) -> Classified:
        folder = SentFolder(sent)
        site = _answer(folder, self.model, progress)
        distrusted = site is not None and site.answer == "out-of-distribution"
        files = [(str(place), path) for place, path in zip(folder.order, folder.paths, strict=True)]
        rows = sorted(
            predictions(self.model, files, distrusted, progress, folder.images),
            key=lambda row: int(row.path),
        )
        return Classified(
            model=self.model.sha256,
            classes=self.model.classes,
            site=SiteVerdict.of(site),
            cautions=self.cautions,
            images=tuple(
                ClassifiedImage(
                    name=image.name, predicted_class=row.predicted, probabilities=row.probabilities, reason=row.reason
                )
                for image, row in zip(sent, rows, strict=True)
            ),
        )


def media_type_of(path: Path) -> str:
    """Return the media type of the files that are written with a suffix."""
    kind = path.suffix.lower()
    return _MEDIA_TYPES.get(kind, f"image/{kind[1:]}")
