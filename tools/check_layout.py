"""What no linter knows about this repository: sizes and names of its modules.

Small rooms keep the place of a change findable; `operator/__init__.py` would shadow the standard library's
`operator` on some machines only, which is the worst kind of bug.
"""

import subprocess
import sys
from pathlib import Path

LIMIT = 600
LOOK_AGAIN = 400
BANNED = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def problems(root: Path) -> list[str]:
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    found = []
    for name in tracked:
        path = root / name
        if not path.exists():
            continue
        lines = len(path.read_text().splitlines())
        if lines > LIMIT:
            found.append(f"{name}: {lines} lines, more than {LIMIT}: split it")
        elif lines > LOOK_AGAIN:
            print(f"note: {name} has {lines} lines: look again", file=sys.stderr)
        if path.stem in BANNED:
            found.append(f"{name}: the name says nothing about what is inside")
    if (root / "operator" / "__init__.py").exists():
        found.append("operator/__init__.py must not exist: it shadows the standard library")
    return found


if __name__ == "__main__":
    found = problems(Path(__file__).parent.parent)
    print("\n".join(found), file=sys.stderr)
    sys.exit(bool(found))
