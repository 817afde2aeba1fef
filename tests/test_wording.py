"""Code, comments and docs are written in plain American technical English: these words are never right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (".ci", ".github", "benchmarks", "core", "docs", "plugins", "tests")
SUFFIXES = (".md", ".py", ".template", ".toml", ".yaml", ".yml")

BRITISH = {
    "-ise, -ising, -isation": r"(?:author|binar|capital|categor|custom|general|initial|local|maxim|memor|minim"
    r"|normal|optim|organ|parallel|parameter|parametr|penal|quant|random|recogn|regular|serial|special|stabil"
    r"|standard|summar|synchron|token|util|vector|visual|final)is(?:e[drs]?|ing|ations?|able)(?![a-z])",
    "-our": r"(?:behavi|col|fav|flav|hon|neighb|lab)our",
    "-yse": r"(?:anal|paral|catal)ys(?:e[drs]?|ing)(?![a-z])",
    "doubled l": r"(?:label|model|travel|signal|channel|level|total)l(?:ed|ing)(?![a-z])",
    "-re": r"(?<![a-z])(?:centre|metre|fibre)s?(?![a-z])",
    "-ogue, -ence, -ey, ae": r"(?<![a-z])(?:catalogue|analogue|licence|defence|grey|artefact|programme)s?(?![a-z])",
    "-t": r"(?<![a-z])(?:learnt|spelt|burnt|whilst|amongst)(?![a-z])",
}
OLD_WORDS = {
    "is not to be had": r"to be had",
    "lest": r"(?<![a-z])lest(?![a-z])",
    "whose as a name, or twice in a line": r"(?<![a-z])whose(?:(?=_|\s*[=|,.)\[:}])|[^.\n]*\bwhose)",
    "wherein, thereof, ...": r"(?<![a-z])(?:where|there)(?:in|of|by|upon|with)(?![a-z])",
    "of which, as the start of a clause": r"[,;] of which(?![a-z])",
    "stranger's plugin": r"stranger",
    "bit-equal": r"bit[-_ ]equal",
    "goes on from": r"(?<![a-z])(?:go|goes|going|went)[_ ]on[_ ](?:from|with|in)(?![a-z])",
    "told": r"(?<![a-z])told(?![a-z])",
    "wishes": r"(?<![a-z])wish(?:es)?(?![a-z])",
    "rehearse": r"rehears",
    "doubled ids": r"doubled[-_ ]ids?|ids?[-_ ]doubled",
    "makes up data": r"(?<![a-z])ma(?:de|kes?|king)[_ ]up(?![a-z])",
    "dear": r"(?<![a-z])dear(?![a-z])",
    "beside": r"(?<![a-z])beside(?![a-z])",
    "mend": r"(?<![a-z])mend(?:s|ed|ing)?(?![a-z])",
    "want for need": r"(?<![a-z])(?:for want of|wants?)(?![a-z])",
    "takes the place of": r"(?<![a-z])(?:take|takes|took)[_ ]the[_ ]place[_ ]of",
    "at home": r"(?<![a-z])at home(?![a-z])",
    "no number": r"(?<![a-z])(?<!there )(?:is|are|be) no (?:number|list|text|word|file)s?(?![a-z])",
    "a soup is cooked": r"cook_|_cook|(?<![a-z])cook(?:s|ed|ing)?(?![a-z])",
    "fault": r"SettingFault|(?<![A-Za-z])Faults?(?![a-z])",
    "bounds that are not MAX_ or MIN_": r"(?<![A-Z])(?:MOST|FEWEST|LEAST|ENOUGH|LARGEST|SMALLEST)_[A-Z]",
    "NOT_COUNTED": r"NOT_COUNTED",
    "CIRCUMSTANCES, NOT_OURS": r"CIRCUMSTANCES|NOT_OURS",
    "unfinite": r"unfinite",
    "forget_worse, make_room, shared_by": r"forget_worse|make_room|shared_by",
    "agreed_wishes, asked": r"agreed_wishes|(?<![a-z])asked(?![a-z])",
    "withheld": r"withheld|withhold",
}
CASE_SENSITIVE = ("fault", "bounds that are not MAX_ or MIN_", "NOT_COUNTED", "CIRCUMSTANCES, NOT_OURS")
RULES = {
    name: re.compile(pattern, 0 if name in CASE_SENSITIVE else re.IGNORECASE)
    for name, pattern in (BRITISH | OLD_WORDS).items()
}
EXCEPTIONS = {
    # file: {words that may stand in it: the reason}
    "tests/test_wording.py": {"*": "lists the words"},
    "core/fusionzoo/demo/phrases.py": {"*": "sentences as buyers and sellers write them"},
}


def list_files() -> list[Path]:
    """Return the text files of the repository, without build results."""
    top = [path for path in ROOT.iterdir() if path.is_file()]
    files = [*top, *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    built = {"__pycache__", "build", "dist"}
    return sorted(p for p in files if p.suffix in SUFFIXES and p.is_file() and not built & {*p.parts})


def find_words(path: Path) -> list[str]:
    """Return `line: rule: words` for each wrong word of a file that is not an exception."""
    allowed = EXCEPTIONS.get(str(path.relative_to(ROOT)), {})
    if "*" in allowed:
        return []
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        for rule, pattern in RULES.items():
            words = [match.group() for match in pattern.finditer(line) if match.group().lower() not in allowed]
            if words:
                found.append(f"{number}: {rule}: {', '.join(words)}")
    return found


FILES = {str(path.relative_to(ROOT)): path for path in list_files()}


@pytest.mark.parametrize("file", list(FILES))
def test_no_wrong_word_is_used(file: str) -> None:
    assert find_words(FILES[file]) == []


def test_each_exception_is_still_needed() -> None:
    """An exception goes when its word goes."""
    for file, words in EXCEPTIONS.items():
        text = (ROOT / file).read_text("utf-8").lower()
        assert [word for word in words if word != "*" and word not in text] == [], file


@pytest.mark.parametrize(
    "wrong", ["normalised", "Optimisation", "test_behaviour", "labelled", "bit_equal", "whose = 1", "told", "rehearsal"]
)
def test_a_wrong_word_is_found(wrong: str) -> None:
    assert any(pattern.search(f"the {wrong} of it") for pattern in RULES.values())


@pytest.mark.parametrize("right", ["optimistic", "wholesale", "masked", "minimist", "molest", "emphasis"])
def test_a_right_word_is_not_found(right: str) -> None:
    assert [name for name, pattern in RULES.items() if pattern.search(f"the {right} of it")] == []
