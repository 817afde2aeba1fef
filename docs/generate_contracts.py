"""Write what the docs say about the contracts, and requirements-contract.txt, from the contract objects.

Usage: `python docs/generate_contracts.py`. `tests/test_contract_docs.py` fails while a page or the file is out of date.
A page holds a block for each table: `<!-- contracts: list -->`, `<!-- contracts: NAME -->` with all tables of a
contract, or `<!-- contracts: NAME paths -->` with the paths that its script must use. `<!-- contracts: end -->` ends
the block.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from fusionzoo.contracts import CONTRACTS, PYTORCH_TRAIN_CONTRACT
from fusionzoo.contracts.contract_tables import list_tables

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs/contracts.md")
REQUIREMENTS = ROOT / "requirements-contract.txt"
BLOCK = re.compile(r"(<!-- contracts: (list|[A-Z_]+( paths)?) -->\n).*?(<!-- contracts: end -->)", re.DOTALL)
HEADER = """\
# The versions that PYTORCH_TRAIN_CONTRACT states, and the oldest that fusionzoo supports.
# Written by docs/generate_contracts.py; do not edit. constraints-contract.txt adds the versions of all other packages.
"""


def render_page(page: str) -> str:
    """Return a page with new tables in its blocks."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{_render_block(block[2])}\n{block[4]}", page)


def render_requirements() -> str:
    """Return requirements-contract.txt: the contract's versions, and its constraints on further packages."""
    contract = PYTORCH_TRAIN_CONTRACT
    lines = [f"{package}{version}" for package, version in contract.framework_requirements.items()]
    lines += ["# Without these, the packages above install but fail."]
    lines += [f"{package}{version}" for package, version in contract.version_constraints.items()]
    return HEADER + "\n".join(lines) + "\n"


def _render_block(name: str) -> str:
    if name == "list":
        rows = [(f"`{key}`", f"`{found.entry_point}`", found.container_type) for key, found in CONTRACTS.items()]
        return _render_table(("contract", "script", "kind of job"), rows)
    contract = CONTRACTS[name.removesuffix(" paths")]
    if name.endswith(" paths"):
        paths = {**contract.expected_input_paths, **contract.expected_output_paths}
        rows = [(key, f"`{path}`", contract.meanings[key]) for key, path in paths.items()]
        return _render_table(
            ("name", "path", "meaning"), [row for row in rows if row[0] not in contract.optional_paths]
        )
    tables = [f"**{table.title}**\n\n{_render_table(table.columns, table.rows)}" for table in list_tables(contract)]
    return f"`{contract.entry_point}`: {contract.description}\n\n" + "\n".join(tables)


def _render_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    lines += [
        f"| {' | '.join(cell.replace('|', chr(92) + '|').replace('*', chr(92) + '*') for cell in row)} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the pages and the requirements file."""
    for page in PAGES:
        page.write_text(render_page(page.read_text("utf-8")), "utf-8")
    REQUIREMENTS.write_text(render_requirements(), "utf-8")


if __name__ == "__main__":
    main()
