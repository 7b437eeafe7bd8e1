"""Print some entries of a requirements file, hashes included: of Herald's lock an image takes only what it runs.

Usage: pick.py FILE [NAME...]      without names, all of it
"""

import re
import sys
from pathlib import Path


def entries(text: str) -> dict[str, str]:
    """Each requirement by its normalised name (PEP 503), with the lines that continue it."""
    found = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        name = re.split(r"[\s=;\[]", entry, maxsplit=1)[0]
        found[re.sub(r"[-_.]+", "-", name).lower()] = entry
    return found


def main(file: Path, *names: str) -> None:
    found = entries(file.read_text())
    missing = sorted(set(names) - set(found))
    if missing:
        sys.exit(f"not in the lock: {', '.join(missing)}")
    print("\n".join(found[name] for name in names or found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
