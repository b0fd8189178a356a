"""What the documents say, checked against the code."""

import re
from pathlib import Path

from service.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_settings_table_of_the_readme_is_what_the_code_has() -> None:
    """Every setting is there with its default and description, and no other."""
    rows = re.findall(r"^\| `HEED_(\w+)` \| (.*?) \| (.*) \|$", README, re.MULTILINE)
    expected = [
        (
            name.upper(),
            "required" if field.is_required() else f"`{field.default}`",
            field.description,
        )
        for name, field in Settings.model_fields.items()
    ]
    assert rows == expected


def test_links_between_the_documents_lead_somewhere() -> None:
    """A relative link names a file of the repository."""
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_commands_of_the_readme_exist() -> None:
    """Every `heed COMMAND` and `make TARGET` in the README can be run."""
    from heed import COMMANDS

    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```\n(.*?)```", README, re.DOTALL))
    commands = set(re.findall(r"^heed (\w+)", blocks, re.MULTILINE))
    targets = set(re.findall(r"^make (\w+)", blocks, re.MULTILINE))
    assert commands
    assert commands <= COMMANDS.keys()
    assert targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
