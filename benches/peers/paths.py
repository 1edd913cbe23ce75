"""The section of docs/benchmarks.md on paths, from the table that scripts/paths.sh keeps. Run alone, it rewrites only that."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "benchmarks.md"
TABLE = ROOT / "docs" / "benchmarks" / "paths.md"
HEAD = "\n## Paths, with the freshness window and without\n"
TEXT = """
What the freshness window does to sessions on paths that are late, lumpy or uneven: two gateway processes, one with the window
and one without it, real sockets, and a proxy that is the path. 40 symbols with 10 quotes a second each, 18 KB/s a session; the
slow reader takes 512 bytes each 100 ms. Ages are those of the newest value that is shown, looked at each 50 ms from 15 s to
50 s after the session began; a path that *turns* does so after 25 s, and so begins the stall. Who
stalls finds old values without the window and the newest with it, and so fewer. `scripts/paths.sh` makes this section anew.

![Ages with the window and without](benchmarks/paths.svg)

"""


def section() -> str:
    return HEAD + TEXT + TABLE.read_text() if TABLE.exists() else ""


if __name__ == "__main__":
    DOCUMENT.write_text(DOCUMENT.read_text().split(HEAD)[0].rstrip("\n") + "\n" + section())
