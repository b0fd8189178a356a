"""The built-in sample data set: customers of the fictional bank Fernbank, twelve intents.

How it was made and what it is good for is in README.md beside this file.
"""

from pathlib import Path

_HERE = Path(__file__).parent

TRAIN = _HERE / "train.csv"
TEST = _HERE / "test.csv"
WRITTEN = _HERE / "written.csv"
GRAMMAR = _HERE / "grammar.toml"
SCENES = _HERE / "scenes.toml"
