"""The root of the errors that a user can mend.

HeedError
├── ArtifactError     service.runtime.artifact: a directory that is not a sound artifact
├── EngineError       service.runtime.engine: the engine did not start or rejected its input
├── FileError         service.runtime.files: a file that cannot be written
├── DataError         model.columns: input that cannot be used
├── HeldError         model.lock: another process writes there
├── ConfigError       model.config: a preset or setting that cannot be used
├── CheckpointError   model.checkpoint: a folder that is not a finished run
├── KeyFileError      service.http.keys: a file of API keys that cannot be used
└── ExportError       export: the exported graph does not hold what it must
"""


class HeedError(Exception):
    """Says in one line what is wrong, where, and what was expected; `heed` exits with 2."""
