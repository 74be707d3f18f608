"""What a file system holds, as a CycloneDX document: python containers/sbom.py ROOT NAME OUTPUT.json

Reads the metadata of installed Python packages and Debian's list of packages. The same files give the same document.
"""

import json
import sys
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from urllib.parse import quote

Component = dict[str, str]


def python_packages(root: Path) -> Iterator[Component]:
    """Every installed distribution, wherever it is."""
    for path in root.rglob("*.dist-info/METADATA"):
        fields = HeaderParser().parsestr(path.read_text(encoding="utf-8", errors="replace"))
        name, version = fields["Name"], fields["Version"]
        purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{quote(version)}"
        yield {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def debian_packages(root: Path) -> Iterator[Component]:
    """Every package that dpkg lists as installed; slim images keep one file for each package too."""
    status = root / "var" / "lib" / "dpkg" / "status"
    files = [status] if status.is_file() else sorted((status.parent / "status.d").glob("*"))
    for file in files:
        for block in file.read_text(encoding="utf-8", errors="replace").split("\n\n"):
            fields = HeaderParser().parsestr(block)
            if not fields["Package"] or "installed" not in (fields["Status"] or "installed").split():
                continue
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={fields['Architecture'] or 'all'}"
            yield {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def document(root: Path, name: str) -> dict[str, object]:
    """The CycloneDX document of a file system. Raises ValueError where it holds no package."""
    components = {entry["purl"]: entry for entry in (*python_packages(root), *debian_packages(root))}
    if not components:
        raise ValueError(f"{root}: no Python and no Debian package; expected the file system of an image")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name}},
        "components": [components[purl] for purl in sorted(components)],
    }


if __name__ == "__main__":
    source, image, target = sys.argv[1:]
    made = document(Path(source), image)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"wrote {target}\n")
