"""YAML with line numbers, so that what is wrong in a file can be found in it."""

from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails


class YamlError(ValueError):
    """No YAML that can be used; `line` from 1, where it is known."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line


def parse(text: str) -> tuple[Any, yaml.Node]:
    """The document of plain types and its tree; YamlError where there is none."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise YamlError("the file is empty")
        return loader.construct_document(node), node
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise YamlError(str(error.problem), line) from None
    except RecursionError:
        raise YamlError("nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        raise YamlError(str(error).splitlines()[0]) from None


def explain(error: ValidationError, node: yaml.Node) -> tuple[str, int, str]:
    """The first problem of a document: its place by name, its line, and what was expected."""
    first = error.errors(include_url=False)[0]
    return *_find(node, first["loc"]), _expected(first)


class _Loader(yaml.SafeLoader):
    """YAML's plain types; a key that is there twice is an error, not the last one's."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401
        """A few aliases of aliases would be gigabytes."""
        if self.check_event(yaml.AliasEvent):
            problem = "aliases (*name) are not read; write it out"
            mark = self.get_mark()
            raise yaml.composer.ComposerError(problem=problem, problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"duplicate key {key.value!r}"
                raise yaml.constructor.ConstructorError(
                    problem=problem, problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _find(node: yaml.Node, loc: tuple[int | str, ...]) -> tuple[str, int]:
    """The name and the line of a place in the file, as far as the file goes there."""
    names = []
    for step in loc:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            names.append(str(step + 1))
        elif isinstance(node, yaml.MappingNode):
            inner = [(key, value) for key, value in node.value if key.value == step]
            if inner:
                node = inner[0][1]
                names.append(str(step))
    return ".".join(names) or "the file", node.start_mark.line + 1


def _expected(error: ErrorDetails) -> str:
    """What was expected, from one of pydantic's errors."""
    context = error.get("ctx", {})
    texts = {
        "missing": f"expected the key {str(*error['loc'][-1:])!r}",
        "extra_forbidden": "unknown key",
        "union_tag_not_found": f"expected the key {context.get('discriminator')}",
        "union_tag_invalid": f"expected {context.get('expected_tags')}, got {context.get('tag')!r}",
        "model_type": "expected keys and values",
        "model_attributes_type": "expected keys and values",
        "dict_type": "expected keys and values",
        "value_error": error["msg"].removeprefix("Value error, "),
    }
    message = f"{error['msg'][0].lower()}{error['msg'][1:]}, got {error['input']!r:.60}"
    return texts.get(error["type"], message)
