"""Which model is served, in which versions."""

from collections.abc import Sequence

from service.classifier import Classifier
from service.errors import UnknownModelError
from service.runtime.artifact import version_key


class Registry:
    """The versions that are loaded, highest first; all of them of one model."""

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        self.classifiers = tuple(sorted(classifiers, key=_version, reverse=True))

    def resolve(self, model: str | None = None, version: str | None = None) -> Classifier:
        """What answers for this version; the highest if a request names none.

        Raises:
            UnknownModelError: it is not loaded.
        """
        for classifier in self.classifiers:
            manifest = classifier.model.manifest
            if model in (None, manifest.name) and version in (None, manifest.version):
                return classifier
        manifests = [classifier.model.manifest for classifier in self.classifiers]
        served = ", ".join(f"{manifest.name} version {manifest.version}" for manifest in manifests)
        # What was asked for is not repeated: no part of a request is echoed.
        raise UnknownModelError(f"this model or version is not served here; served: {served}")


def _version(classifier: Classifier) -> list[tuple[int, int, str]]:
    return version_key(classifier.model.manifest.version)
