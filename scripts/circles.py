#!/usr/bin/env python3
"""Prints the import circles of Rust crates: files that import each other in a loop.

    scripts/circles.py [--all] [FOLDER...]      the folders of sources, without any: of every crate here

A file imports another one where it names something of it: in a `use`, or by a path in its code. A name that is handed
on by `pub use` counts for the file that it comes from. An `impl` block away from its type's file is used without a `use`,
so a call of one of its methods counts as an import of the file with that block. Code for tests only does not count.

For each circle, the imports that tie it are listed (the first few; `--all` shows all of them). The command fails where a
circle is longer than `scripts/circles.txt` allows for that folder: a line is `FOLDER LONGEST`, and no line means 0.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEPT = ROOT / "scripts" / "circles.txt"
SHOWN = 12

TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/                                  # comments
    |b?r(?P<hash>\#*)".*?"(?P=hash)|b?"(?:\\.|[^"\\])*"     # strings
    |b?'(?:\\.[^']*|[^'\\])'                                # characters
    |'\w+                                                   # lifetimes
    |[A-Za-z_]\w*|::|\d[\w.]*|\S""",
    re.S | re.X,
)
WORD = re.compile(r"[A-Za-z_]\w*")


def tokens(text):
    """The words and signs of a source, without comments and strings."""
    for found in TOKEN.finditer(text):
        token = found.group()
        if token.startswith(("//", "/*", '"', "'", 'b"', "b'", 'r"', 'r#"', "br")) and not WORD.fullmatch(token):
            continue
        yield token


def closing(words, at):
    """The place of the bracket that closes the one at `at`."""
    pairs = {"{": "}", "(": ")", "[": "]"}
    opening, depth = words[at], 0
    for place in range(at, len(words)):
        depth += (words[place] == opening) - (words[place] == pairs[opening])
        if depth == 0:
            return place
    return len(words) - 1


def without_tests(words):
    """The words of a source without items that are compiled for tests only."""
    kept, at = [], 0
    while at < len(words):
        if words[at : at + 7] == ["#", "[", "cfg", "(", "test", ")", "]"]:
            at += 7
            while at < len(words) and words[at] not in ("{", ";"):
                at += 1
            at = closing(words, at) + 1 if at < len(words) and words[at] == "{" else at + 1
        else:
            kept.append(words[at])
            at += 1
    return kept


def use_tree(words, at, prefix):
    """The paths of a `use` from `at` on, as (path, name that it gets), and the place behind it."""
    path, paths = list(prefix), []
    while at < len(words):
        word = words[at]
        if word == "{":
            at += 1
            while words[at] != "}":
                below, at = use_tree(words, at, path)
                paths += below
                if words[at] == ",":
                    at += 1
            return paths, at + 1
        if word == "*":
            return [(path, "*")], at + 1
        if word == "as":
            return [(path, words[at + 1])], at + 2
        if WORD.fullmatch(word):
            path.append(word)
        elif word != "::":
            break
        at += 1
    name = path[-2] if path[-1] == "self" and len(path) > 1 else path[-1]
    return [(path[:-1] if path[-1] == "self" and len(path) > 1 else path, name)], at


class File:
    """One source: what it names, what it hands on, and the methods that it defines and calls."""

    def __init__(self, path, module):
        self.path, self.module = path, module
        self.paths, self.exports, self.globs = [], {}, []
        self.types, self.methods, self.calls = set(), set(), set()
        words = without_tests(list(tokens(path.read_text())))
        self.words = set(words)
        self.read(words)

    def read(self, words):
        scopes, at = [], 0  # (the place where it ends, name of an inline module or None, type of an impl or None)
        while at < len(words):
            while scopes and at >= scopes[-1][0]:
                scopes.pop()
            word, after = words[at], words[at + 1] if at + 1 < len(words) else ""
            inner = [name for _, name, _ in scopes if name]
            if word == "use" and (WORD.fullmatch(after) or after in ("::", "{")):
                is_handed_on = at > 0 and (words[at - 1] == "pub" or words[at - 1] == ")")
                paths, at = use_tree(words, at + 1, [])
                for path, name in paths:
                    self.paths.append((inner, path))
                    if is_handed_on and name == "*":
                        self.globs.append((inner, path))
                    elif is_handed_on and not inner:
                        self.exports[name] = path
                continue
            if word == "mod" and "{" in words[at + 2 : at + 4]:
                # In a macro, its name is one of the macro's.
                at = words.index("{", at)
                scopes.append((closing(words, at), after, None))
                at += 1
                continue
            if word == "impl" and (at == 0 or words[at - 1] in "};]" or words[at - 1] == "unsafe"):
                begin = at
                while words[at] != "{":
                    at += 1
                head = words[begin + 1 : at]
                if head[0] == "<":
                    depth = 0
                    for place, sign in enumerate(head):
                        depth += (sign == "<") - (sign == ">" and head[place - 1] != "-")
                        if depth == 0:
                            head = head[place + 1 :]
                            break
                for place, name in enumerate(head):
                    if WORD.fullmatch(name) and head[place + 1 : place + 2] == ["::"]:
                        self.paths.append((inner, [name, head[place + 2]]))
                is_inherent = "for" not in head
                owner = next((name for name in head if WORD.fullmatch(name)), None)
                scopes.append((closing(words, at), None, owner if is_inherent else None))
                at += 1
                continue
            if word in ("struct", "enum", "union", "type") and WORD.fullmatch(after):
                self.types.add(after)
            owner = next((owner for _, _, owner in reversed(scopes) if owner), None)
            if word == "fn" and owner:
                self.methods.add((owner, after))
            if word == "." and WORD.fullmatch(after) and words[at + 2 : at + 3] == ["("]:
                self.calls.add((owner if words[at - 1] == "self" else None, after))
            is_path = WORD.fullmatch(word) and after == "::" and (at == 0 or words[at - 1] not in ("::", "."))
            if is_path:
                path = [word]
                while words[at + 1 : at + 2] == ["::"] and WORD.fullmatch(words[at + 2]):
                    at += 2
                    path.append(words[at])
                self.paths.append((inner, path))
                if path[0] == "Self" and owner and len(path) == 2:
                    self.calls.add((owner, path[1]))
            at += 1


def read_crate(folder):
    """The files of a crate by their modules."""
    files = {}
    for path in sorted(folder.rglob("*.rs")):
        parts = list(path.relative_to(folder).with_suffix("").parts)
        if parts[-1] in ("mod", "lib", "main"):
            parts.pop()
        if parts and (parts[0] == "bin" or parts[-1] in ("tests", "test") or parts[-1].endswith("_tests")):
            continue
        if path.name == "main.rs" and (folder / "lib.rs").exists():
            continue
        files[tuple(parts)] = File(path, tuple(parts))
    return files


def find(files, module, path, seen=()):
    """The module whose file defines what a path names, as it is read in a module, and the name; None for other crates."""
    at, rest = module, list(path)
    if (module, tuple(path)) in seen:
        return None
    seen = (*seen, (module, tuple(path)))
    if rest[0] == "crate":
        at, rest = (), rest[1:]
    elif rest[0] in ("self", "super"):
        while rest and rest[0] in ("self", "super"):
            at, rest = at[:-1] if rest[0] == "super" else at, rest[1:]
    elif (*at, rest[0]) not in files and rest[0] not in getattr(files.get(at), "exports", ()):
        return None
    while rest and (*at, rest[0]) in files:
        at, rest = (*at, rest[0]), rest[1:]
    # An inline module is part of its file.
    while at not in files and at:
        at = at[:-1]
    here = files[at]
    if not rest:
        return at, path[-1]
    handed = here.exports.get(rest[0])
    if handed and handed != [rest[0]]:
        return find(files, at, handed + rest[1:], seen)
    if rest[0] not in here.types:
        for _, glob in here.globs:
            found = find(files, at, glob, seen)
            if found and rest[0] in files[found[0]].types:
                return found[0], rest[0]
    return at, rest[0]


def imports(files):
    """For each module, the modules that it imports, with the names."""
    edges = {module: {} for module in files}
    homes = {name: module for module, file in files.items() for name in file.types}
    methods = {}
    for module, file in files.items():
        for owner, method in file.methods:
            methods.setdefault(method, []).append((owner, module))
    for module, file in files.items():
        for inner, path in file.paths:
            found = find(files, (*module, *inner), path)
            if found and found[0] != module:
                edges[module].setdefault(found[0], set()).add(found[1])
        for receiver, method in file.calls:
            candidates = methods.get(method, ())
            for owner, target in candidates:
                is_known = receiver == owner or (
                    receiver is None and len(candidates) == 1 and homes.get(owner) != target and owner in file.words
                )
                if is_known and target != module and (receiver, method) not in file.methods:
                    edges[module].setdefault(target, set()).add(f".{method}()")
    return edges


def circles(edges):
    """The strongly connected components with more than one module, the longest first (Tarjan)."""
    index, low, on_stack, stack, found = {}, {}, set(), [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        on_stack.add(module)
        for target in edges[module]:
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in on_stack:
                low[module] = min(low[module], index[target])
        if low[module] == index[module]:
            component = []
            while not component or component[-1] != module:
                component.append(stack.pop())
                on_stack.discard(component[-1])
            if len(component) > 1:
                found.append(sorted(component))

    for module in edges:
        if module not in index:
            visit(module)
    return sorted(found, key=len, reverse=True)


def main():
    sys.setrecursionlimit(10_000)
    arguments = sys.argv[1:]
    if "--help" in arguments:
        print(__doc__)
        return 0
    shows_all = "--all" in arguments
    given = [argument for argument in arguments if argument != "--all"]
    folders = [pathlib.Path(folder).resolve() for folder in given]
    folders = folders or sorted([*ROOT.glob("crates/*/src"), *ROOT.glob("loadgen/src")])
    lines = [line.split() for line in KEPT.read_text().splitlines() if line and not line.startswith("#")]
    allowed = {folder: int(longest) for folder, longest in lines}
    failed = False
    for folder in folders:
        name = str(folder.relative_to(ROOT)) if folder.is_relative_to(ROOT) else str(folder)
        files = read_crate(folder)
        if not files:
            print(f"{name}: there are no sources", file=sys.stderr)
            return 2
        edges = imports(files)
        found = circles(edges)
        sizes = ", ".join(str(len(circle)) for circle in found) or "none"
        print(f"{name}: {len(files)} files, circles of files: {sizes}")
        for circle in found:
            paths = {module: str(files[module].path.relative_to(folder)) for module in circle}
            ties = [(a, b) for a in circle for b in sorted(edges[a]) if b in circle]
            print(f"  {len(circle)} files: {' '.join(paths.values())}")
            for a, b in ties if shows_all else ties[:SHOWN]:
                print(f"    {paths[a]} -> {paths[b]}: {', '.join(sorted(edges[a][b]))}")
            if len(ties) > SHOWN and not shows_all:
                print(f"    and {len(ties) - SHOWN} more imports")
        longest = max(map(len, found), default=0)
        if longest > allowed.get(name, 0):
            print(f"{name}: a circle of {longest} files, scripts/circles.txt allows {allowed.get(name, 0)}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
