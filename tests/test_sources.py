"""Rules for all sources, checked on their syntax trees."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
_SOURCES = sorted(
    path for folder in ("backend", "jobs", "model", "src", "benchmarks") for path in (_ROOT / folder).rglob("*.py")
)
# What they read may run code.
_RUN_CODE = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
_EVALUATE = {"eval", "exec", "compile", "__import__"}
_IS_SECRET = re.compile(r"(^|_)(secret|password|api_key|csrf_token|fingerprint)$")


def _found(path: Path) -> Iterator[tuple[ast.AST, str]]:
    """Each node of a file, and where it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        yield node, f"{path.relative_to(_ROOT)}:{getattr(node, 'lineno', 0)}"


def _name(node: ast.AST) -> str:
    """`a.b.c` of a chain of names; for anything else its last part."""
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def _calls() -> Iterator[tuple[ast.Call, str, str]]:
    for path in _SOURCES:
        for node, where in _found(path):
            if isinstance(node, ast.Call):
                yield node, _name(node.func), where


def _option(call: ast.Call, name: str) -> object:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value.value if isinstance(keyword.value, ast.Constant) else "unknown"
    return None


def test_the_checks_find_sources_to_check() -> None:
    assert len(_SOURCES) > 150


def test_nothing_is_read_by_what_may_run_code() -> None:
    imported = [
        f"{where}: {name}"
        for path in _SOURCES
        for node, where in _found(path)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name.partition(".")[0] in _RUN_CODE
    ]
    assert imported == []


def test_torch_reads_weights_only() -> None:
    wrong = [
        where
        for call, name, where in _calls()
        if name.endswith("torch.load") and _option(call, "weights_only") is not True
    ]
    assert wrong == []


def test_no_code_that_comes_with_a_model_is_trusted() -> None:
    assert [where for call, _, where in _calls() if _option(call, "trust_remote_code") not in {None, False}] == []


def test_arrays_are_read_without_pickle() -> None:
    assert [where for call, _, where in _calls() if _option(call, "allow_pickle") not in {None, False}] == []


def test_models_are_written_without_pickle() -> None:
    saved = [where for _, name, where in _calls() if name.endswith("torch.save")]
    # The starter's own training script, which keeps where it is; nothing of the service reads it.
    assert {where.partition(":")[0] for where in saved} <= {"model/starter/train.py"}


def test_no_text_is_evaluated() -> None:
    assert [
        f"{where}: {name}" for call, name, where in _calls() if isinstance(call.func, ast.Name) and name in _EVALUATE
    ] == []


def test_every_queue_and_worker_speaks_json() -> None:
    """RQ's own default is pickle."""
    rq = {"rq.Queue", "rq.Worker.all", "Job.fetch", "_Worker", "Worker.all"}
    wrong = [
        f"{where}: {name}"
        for call, name, where in _calls()
        if name in rq and not any(keyword.arg == "serializer" for keyword in call.keywords)
    ]
    assert wrong == []


def test_secrets_are_compared_in_constant_time() -> None:
    """With == an answer would come the sooner, the earlier a guess is wrong."""
    wrong = [
        where
        for path in _SOURCES
        for node, where in _found(path)
        if isinstance(node, ast.Compare)
        and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        and any(_tells_a_secret(side) for side in (node.left, *node.comparators))
    ]
    assert wrong == []


def _tells_a_secret(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        is_lookup = _name(node.func).endswith(".get") and bool(node.args) and _tells_a_secret(node.args[0])
        return is_lookup or _name(node.func).endswith(".reveal")
    if isinstance(node, ast.Subscript):
        return _tells_a_secret(node.slice)
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and bool(_IS_SECRET.search(node.value))
    return bool(_IS_SECRET.search(_name(node).rpartition(".")[2]))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("given == row.webhook_secret", True),
        ("password.reveal() != given", True),
        ("session.get('fingerprint') == known", True),
        ("body['password'] == known", True),
        ("text.sep_token_id == tokenizer.sep_token_id", False),
        ("password is None", False),
        ("passwords == 3", False),
    ],
)
def test_a_comparison_that_would_tell_is_recognised(line: str, expected: bool) -> None:
    compared = ast.parse(line, mode="eval").body
    assert isinstance(compared, ast.Compare)
    is_equality = isinstance(compared.ops[0], ast.Eq | ast.NotEq)
    assert (is_equality and any(map(_tells_a_secret, (compared.left, *compared.comparators)))) is expected
