"""Names, docstrings and sizes follow the conventions of CONTRIBUTING.md."""

from __future__ import annotations

import ast
import collections
import re
import subprocess
import sys
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parents[2]
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for folder in ("app", "client/src")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
TREES = {file: ast.parse(text) for file, text in SOURCES.items()}
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
# First words of functions. Add a verb in base form here when you need it.
VERBS = set(
    """abort accept acquire activate add adjust advance aggregate allow announce append apply approve
    ask assert assign attach audit authenticate authorize back begin bind block bootstrap build bump
    cache calculate call can cancel capture change check choose claim classify clean clear clip close
    collect combine commit compare compile complete compose compute configure confirm connect consume
    contains convert copy count create cut decide decode decrypt define delete deliver deny derive
    describe detect determine diff disable discard disconnect dispatch do download drain drop dump
    elevate emit enable encode encrypt end enforce enqueue enroll ensure enter erase escape evaluate
    exchange execute exit expand expire export extend extract fail fetch fill filter find finish fit
    flatten flush fold follow forget fork format forward from gather generate get give grant group
    guard handle has hash hide hold identify ignore import increase inform initialize insert inspect
    install interpret introspect invalidate invite invoke is issue iterate join keep kill launch let
    limit link list listen load locate lock log look lower make map mark mask match matches measure
    merge migrate mint mount move must name needs normalize note notify observe omit open order
    override pack page paginate parse pass pause perform persist pick poll pop populate post prepare
    present preview print probe process produce prompt protect prove provide prune publish purge push
    put query queue raise rank read rebuild receive recognize record recover redact redeem redirect
    reduce refer refresh refund refuse register reject release reload remember remind remove rename
    render renew reopen repair replace replay reply report request require requires reschedule resend
    reserve reset resolve respond restart restore restrict resume retrieve retry return reuse revert
    review revoke rewrite roll rotate route run sanitize save scan schedule seal search select send
    serialize serve set settle share should show shut sign skip sleep sort spawn split spread start
    stop store stream strip subscribe suggest summarize supports suspend swap sweep switch synchronize
    take tell terminate throttle to touch track transform translate trim truncate try turn unbind undo
    unlink unlock unpack unregister unseal unwrap update upgrade upload upsert use validate verify
    visit wait walk warn watch wipe with withdraw wrap write yield reseal as""".split()
)
SUPERLATIVES = {
    *("MOST", "LEAST", "LONGEST", "LARGEST", "DEEPEST", "SLOWEST", "SHORTEST", "SELDOM"),
    *("BIGGEST", "SMALLEST"),
}
RIDDLE = re.compile(r"^(What|One|How|Who|Where|Whoever|Which|Whose|Whom|The same)\b|\?")
PRONOUN = re.compile(r"\b(whoever|somebody|nobody|oneself|one's|whosoever)\b", re.IGNORECASE)
IRREGULAR_PARTICIPLES = set(
    """held kept shown written spent told said taken given drawn known seen built made begun sung
    brought""".split()
)
NOT_PARTICIPLES = {"need", "speed", "feed", "embed", "seed", "shed", "exceed", "proceed", "red"}
EFFECT = re.compile(
    r"\.(add|add_all|execute|flush|delete|commit|set)\(|after_commit|\brecord\w*\(|\benqueue\w*\("
    r"|\brevoke_\w+\(|\bupdate\(|\binsert\(|\w+\.\w+ \+= "
)
MAX_VERBLESS_SHARE = 0.05
MAX_RIDDLE_SHARE = 0.01
MAX_FILE_LINES = 300
MAX_TEST_NAME = 80


def list_nodes(*kinds: type[ast.AST]):
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, kinds):
                yield file, node


def is_participle(word: str) -> bool:
    return word in IRREGULAR_PARTICIPLES or (word.endswith("ed") and word not in NOT_PARTICIPLES)


def get_decorators(node: ast.FunctionDef) -> str:
    return " ".join(ast.unparse(decorator) for decorator in node.decorator_list)


def test_public_functions_begin_with_a_verb():
    names = [
        f"{file}: {node.name}"
        for file, tree in TREES.items()
        if not file.startswith(("app/api/", "app/pages/"))
        for node in tree.body
        if isinstance(node, FUNCTION)
        and not node.name.startswith("_")
        and not re.search(r"\b(command|group|property|fixture)\b", get_decorators(node))
    ]
    verbless = [name for name in names if name.split(": ")[1].split("_")[0] not in VERBS]
    assert len(verbless) <= MAX_VERBLESS_SHARE * len(names), verbless


def test_no_function_with_a_side_effect_is_named_by_a_participle():
    wrong = [
        f"{file}: {node.name}"
        for file, node in list_nodes(ast.FunctionDef, ast.AsyncFunctionDef)
        if is_participle(node.name.strip("_").split("_")[0])
        and "property" not in get_decorators(node)
        and EFFECT.search(ast.get_source_segment(SOURCES[file], node) or "")
    ]
    assert wrong == []


def test_constants_are_named_max_and_min_instead_of_superlatives():
    wrong = [
        f"{file}: {target.id}"
        for file, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id.lstrip("_").split("_")[0] in SUPERLATIVES
    ]
    assert wrong == []


def test_docstrings_state_what_is_done():
    documented = [
        (f"{file}: {docstring.splitlines()[0]}", docstring)
        for file, node in list_nodes(
            ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
        )
        if (docstring := ast.get_docstring(node))
    ]
    riddles = [
        place
        for place, docstring in documented
        if RIDDLE.search(docstring.split("\n\n")[0]) or PRONOUN.search(docstring)
    ]
    assert len(riddles) <= MAX_RIDDLE_SHARE * len(documented), riddles


def test_no_two_classes_of_the_service_share_a_name():
    places = collections.defaultdict(set)
    for file, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[file.split("/")[0], node.name].add(file)
    shared = {
        name: files for (top, name), files in places.items() if top == "app" and len(files) > 1
    }
    assert shared == {}


def count_code_lines(file: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function without its docstring, comments and blank lines."""
    first = function.body[0].lineno
    if ast.get_docstring(function):
        first = function.body[0].end_lineno + 1
    lines = SOURCES[file].splitlines()
    code = [*lines[function.lineno - 1 : function.body[0].lineno - 1], *lines[first - 1 :]]
    code = code[: len(code) - (len(lines) - function.end_lineno)]
    return sum(1 for line in code if line.strip() and not line.strip().startswith("#"))


def test_functions_are_short():
    lengths = {
        f"{file}:{node.lineno} {node.name}": count_code_lines(file, node)
        for file, node in list_nodes(ast.FunctionDef, ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in lengths.items() if lines > 45} == {}
    assert median(lengths.values()) <= 6
    assert quantiles(lengths.values(), n=10)[-1] <= 18


def test_files_of_the_service_are_short():
    lines = {file: len(text.splitlines()) for file, text in SOURCES.items()}
    too_long = {
        file: count
        for file, count in lines.items()
        if file.startswith("app/") and count > MAX_FILE_LINES
    }
    assert too_long == {}


def test_lines_have_at_most_a_hundred_columns():
    result = subprocess.run(
        [
            *(sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E501"),
            *("--line-length", "100", "--output-format", "concise", "app", "client/src", "bench"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_names_of_tests_are_short():
    too_long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, FUNCTION)
        and node.name.startswith("test_")
        and len(node.name) > MAX_TEST_NAME
    ]
    assert too_long == []
