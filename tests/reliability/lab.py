"""What every measurement is given: folders, artifacts, cores, how long to take."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.artifacts import write_artifact
from tests.reliability.engine import Curve
from tests.reliability.machine import Cores, split_cores
from tests.reliability.serve import Options
from tests.reliability.server import Server, curve_options, curve_settings


@dataclass
class Lab:
    """See the module.

    Attributes:
        folder: for artifacts and logs; kept until the end of all measurements.
        real: artifact of a real model.
        quick: look whether everything runs; the figures are worth nothing.
        say: tells a person what goes on.
        only: the measurements whose promises are asked about; empty for all.
    """

    folder: Path
    real: Path
    quick: bool = False
    say: Callable[[str], None] = lambda line: None
    only: tuple[str, ...] = ()
    cores: Cores = field(default_factory=split_cores)
    _logs: int = 0

    def seconds(self, full: float, quick: float) -> float:
        """How long something takes."""
        return quick if self.quick else full

    def times(self, full: int, quick: int = 2) -> int:
        """How often something is repeated."""
        return quick if self.quick else full

    @cached_property
    def tiny(self) -> Path:
        """The artifact whose tokenizer the engine of known speed is fed by."""
        return write_artifact(self.folder / "tiny")

    def new_log(self) -> Path:
        """A file of its own for each process."""
        self._logs += 1
        return self.folder / f"server-{self._logs}.log"

    def fake(self, curve: Curve, *, nofile: int = 0, **settings: object) -> Server:
        """A service on an engine of known speed, not started."""
        options = Options(**(curve_options(curve).__dict__ | {"nofile": nofile}))
        return Server(
            self.tiny,
            self.new_log(),
            curve_settings(curve, **settings),
            options=options,
            cores=self.cores.server,
        )

    def service(self, options: Options | None = None, **settings: object) -> Server:
        """A service on a real model, `real` unless the settings name another; not started."""
        model = Path(str(settings.pop("model", self.real)))
        return Server(model, self.new_log(), settings, options=options, cores=self.cores.server)

    def fresh(self, name: str) -> Path:
        """A folder of that name that is empty."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder
