#!/usr/bin/env python3
"""Keeps the words of docs/glossary.md: no replaced word in code, comments, documents or messages, and no headless
sentence at the beginning of a Rust documentation comment.

    scripts/words.py           prints what it found as file:line, and fails when there is something
    scripts/words.py --list    prints how many it found per part of the project
"""

import collections
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

SUFFIXES = {".rs", ".proto", ".py", ".sh", ".toml", ".md", ".mjs", ".html", ".yml", ".yaml", ".conf", ".json", ".just"}
# History keeps the words of its time, and this script and the glossary name the words that they replace.
LEFT_OUT = ("docs/adr/", "docs/benchmarks/", "proto/vectors/", "CHANGELOG.md", "scripts/words.py", "docs/glossary.md")
# A word that is not used -> the one that is. Words are compared in lower case, inside identifiers too: `lastBeat` and
# `last_beat` have the word `beat`.
REPLACED = {
    "beat": "heartbeat",
    "beats": "heartbeats",
    "question": "request",
    "questions": "requests",
    "wish": "interest",
    "wishes": "interest",
    "suspicion": "pending gap",
    "suspicions": "pending gaps",
    "tape": "encoded log",
    "tapes": "encoded logs",
    "passage": "latency sample",
    "passages": "latency samples",
    "numbering": "sequence",
    "numberings": "sequences",
    "crew": "worker pool",
    "audience": "expected deliveries",
    "handout": "batch decoder",
    "handouts": "batch decoders",
    "twin": "JSON encoding",
    "twins": "JSON encodings",
    "mistake": "config error, or fault",
    "mistakes": "config errors, or faults",
    "relieve": "shed, or unblock",
    "relieved": "shed, or unblocked",
    "walk": "scan",
    "walks": "scans",
    "walked": "scanned",
    "figures": "ticker statistics, metrics, results",
}

# Where a replaced word is the right one: (word, what the line has, or a path's beginning).
RIGHT = (
    ("beat", re.compile(r"\bbeats? (?:the|every|all|any|it)\b")),
    ("tape", re.compile(r"\b[Tt]apes? [ABC]\b")),
    ("walk", re.compile(r"\brandom walk", re.IGNORECASE)),
    ("mistake", re.compile(r"\b(?:by|a) mistake\b")),
    ("question", re.compile(r"\bquestion marks?\b")),
)

# The page's list of trades is a tape to those who trade, and a test of the load generator is called figures.
RIGHT_IN = {"tape": ("dashboard/", "tests/page/"), "figures": ("scripts/run_tests.py",),
            # The one that a token is meant for (`aud`).
            "audience": ("crates/auth/", "crates/tickwire/src/token.rs")}

# An answer is a verb in prose ("the gateway answers pings"), and a response where it is a thing.
ANSWER = re.compile(r"\b(?:an|the|its|old|late|empty|whole) answers?\b|[a-z]_answers?\b|\banswer_[a-z]|\banswer[A-Z]|[a-z]Answers?\b|\bAnswer\b|_ANSWER\b|\bANSWER_|_ANSWER_")

# What a change of one word for another leaves behind.
ARTICLE = re.compile(r"\b[Aa]n (?:heartbeat|request|response|sequence|snapshot|pending|latency|worker|scan|batch|JSON)\b|\b[Aa] (?:interest|error|encoded|expected|instrument|epoch|ingester)\b")

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def files():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in listed.decode().split("\0"):
        path = pathlib.Path(name)
        if (path.suffix in SUFFIXES or path.name == "justfile") and not name.startswith(LEFT_OUT):
            if (ROOT / name).is_file() and "lock" not in path.name:
                yield name


def replaced_words(name, line):
    for word in WORD.findall(line):
        lower = word.lower()
        if lower not in REPLACED or name.startswith(RIGHT_IN.get(lower, ("//",))):
            continue
        if not any(lower.startswith(right) and there.search(line) for right, there in RIGHT):
            yield f"`{lower}`: say {REPLACED[lower]}"
    if ANSWER.search(line):
        yield "`answer` as a thing: say response"
    for found in ARTICLE.findall(line):
        yield f"`{found}`: the article does not fit"


# ---- Headless sentences ----

# A sentence that begins so has no subject, or no verb of its own, at the beginning of an item's documentation.
HEADLESS = (
    "Whose Of To With Without In For By At From Like On Until Till Since Between Behind Before After Beyond Below Above"
    " Under Over Among Against And Or But Not Nor Than That Which Who Where Why How What"
).split()
# Of a function these have no verb either: it returns, or does, something.
HEADLESS_FUNCTION = "Whether True False None Nothing Some Done Ready Same Only Also Now Then Always Never Just".split()
# A function's sentence begins with what it does ("Returns ...", "Takes ..."). These end in `s` as well, and are no verbs.
NOT_VERBS = (
    "Its This These Those His As Us Always Perhaps Besides Sometimes Afterwards Upwards Downwards Less Plus Minus"
    " Across Towards Various Previous Numerous Attempts Blocks Books Bytes Cautions Channels Charts Columns Commands"
    " Connections Digits Errors Events Fields Figures Files Frames Gaps Headers Hours Ids Instruments Items Keys"
    " Labels Levels Limits Lines Messages Metrics Milliseconds Microseconds Minutes Nanoseconds Numbers Options Pairs"
    " Permits Prices Programs Quotes Rates Readers Receipts Records Results Rows Seconds Servers Sessions Settings"
    " Shards Sizes Snapshots Statistics Subscribers Subscriptions Symbols Things Threads Times Tokens Trades Updates"
    " Values Variables Venues Windows Words"
).split()
# So are those which these words follow: "Names of the instruments".
NOUN = re.compile(r"\w+ (?:of|per)\b|(?:Names|Counts) (?:and|or)\b")
# Or it is a whole sentence, which has one of these: a plural ("updates") or a participle ("written") may look like a verb.
# The word after an auxiliary is its own.
FINITE = (
    r"\b(?:(?:is|are|was|were|has|have|had|can|cannot|could|may|might|must|will|would|should|does|do|did)(?: not)?(?: \w+)?|"
    r"agree|agreed|agrees|announces|appear|appears|arrive|arrived|arrives|became|become|becomes|began|begins|belong|"
    r"belongs|bring|brings|brought|came|carries|carry|closes|come|comes|contain|contains|costs|depend|depends|"
    r"describes|differ|differs|disagree|disagreed|disagrees|ended|ends|equals|exist|exists|expect|expects|fail|failed|"
    r"fails|fell|fits|flow|flows|follow|follows|gave|gets|gives|goes|got|grew|grow|grows|happen|happened|happens|hears|"
    r"holds|keep|keeps|kept|knew|know|knows|lack|lacks|lasted|lasts|leads|leaves|lets|lies|loses|make|makes|means|"
    r"merges|moves|needs|owes|pass|passes|pays|publishes|reaches|receives|remain|remains|resets|returns|said|saw|say|"
    r"says|see|sees|sends|serves|shows|signs|stand|stands|starts|stays|stood|stopped|stops|succeed|succeeds|take|takes|"
    r"tells|told|took|understands|waits|want|wants|went|works|"
    r"(?:closed|writes) (?:the|a|it))\b"
)
# Each of these has a verb, which is not the sentence's: "The text that is written" has no verb of its own.
SUBORDINATE = (
    r"\b(?:that|which|who|whose|whom|what|whatever|whoever|where|when|while|whether|why|how|if|because|although)\b|"
    r", (?:once|as|since)\b|\b(?:as|than|before|after|until|since) (?:(?:the|a|an|its|this) )?\S+ (?=" + FINITE + ")"
)
FINITE, SUBORDINATE = re.compile(FINITE), re.compile(SUBORDINATE)
ITEM = re.compile(r"^\s*(?:pub(?:\([a-z_: ]+\))? )?(?:default )?(?:const |async |unsafe |extern \"C\" )*(fn|struct|enum|trait|type|const|static|mod|union)\b")
# What documentation comments begin with.
MARKS = {".rs": r"\s*//[/!](?!/)", ".proto": r"\s*//"}
CODE = re.compile(r"`[^`]*`")
FULL_STOP = re.compile(r"(?<!e\.g)(?<!i\.e)[.:!?](?:\s|$)")


def item_kind(lines, at):
    """What the documentation before line `at` is of: fn, struct, ..., `field` for fields and variants, `test`."""
    is_test = False
    depth = 0
    while at < len(lines):
        line = lines[at].strip()
        if depth == 0 and not line.startswith(("#[", "//")) and line:
            item = ITEM.match(lines[at])
            kind = item.group(1) if item else "field"
            return "test" if is_test and kind == "fn" else kind
        if line.startswith("#[") or depth:
            is_test = is_test or "test" in line
            depth = max(0, depth + line.count("[") - line.count("]"))
        at += 1
    return "nothing"


def has_verb(start, sentence):
    """Whether a function's sentence begins with what it does, or has a finite verb besides those of its subordinate clauses."""
    if re.fullmatch("[A-Z][a-z]+s", start) and start not in NOT_VERBS and not NOUN.match(sentence):
        return True
    clause = CODE.sub("``", sentence[0].lower() + sentence[1:]).split(";")[0]
    first = SUBORDINATE.search(clause)
    if FINITE.search(clause[: first.start()] if first else clause):
        return True
    return len(FINITE.findall(clause)) > len(SUBORDINATE.findall(clause))


def headless(lines, mark):
    """Yields the line, and what is wrong, of each documentation comment that begins without subject or verb."""
    at = 0
    while at < len(lines):
        begins = re.match(mark, lines[at])
        if not begins:
            at += 1
            continue
        first = at
        text = []
        while at < len(lines) and re.match(mark, lines[at]):
            text.append(re.sub(mark, "", lines[at]).strip() or " ")
            at += 1
        is_of_item = "///" in begins.group()
        kind = item_kind(lines, at) if is_of_item else "field"
        paragraph = " ".join(text).split("  ")[0]
        end = FULL_STOP.search(paragraph)
        sentence = paragraph[: end.end()].strip() if end else paragraph
        if not sentence or sentence.endswith("?") or sentence[0] in "#|-*[<":
            continue
        start = sentence.split()[0].strip(",.:;")
        if start in HEADLESS:
            if "," in sentence and start not in ("Whose", "Of", "And", "Or", "But", "What") and kind in ("fn", "test"):
                continue  # "In a test, it does ..."
            yield first, f"begins with `{start}`, so it has no subject: {sentence}"
        elif kind == "fn" and start in HEADLESS_FUNCTION:
            yield first, f"begins with `{start}`: say what the function returns or does: {sentence}"
        elif kind == "fn" and not has_verb(start, sentence):
            yield first, f"has no verb: say what the function returns or does: {sentence}"


def part(name):
    pieces = name.split("/")
    return "/".join(pieces[:2]) if pieces[0] == "crates" else pieces[0]


def main():
    listing = sys.argv[1:] == ["--list"]
    if sys.argv[1:] and not listing:
        sys.exit(__doc__)
    words, heads = collections.Counter(), collections.Counter()
    for name in files():
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        found = [(at, what, words) for at, line in enumerate(lines) for what in replaced_words(name, line)]
        if name.endswith(tuple(MARKS)):
            found += [(at, what, heads) for at, what in headless(lines, MARKS[pathlib.Path(name).suffix])]
        for at, what, counter in sorted(found, key=lambda one: one[0]):
            counter[part(name)] += 1
            if not listing:
                print(f"{name}:{at + 1}: {what}")
    if listing:
        print(f"{'part':24}{'replaced words':>16}{'headless':>10}")
        for one in sorted(words.keys() | heads.keys()):
            print(f"{one:24}{words[one]:16}{heads[one]:10}")
        print(f"{'all':24}{words.total():16}{heads.total():10}")
    elif words or heads:
        print(f"{words.total()} replaced words, {heads.total()} headless sentences; docs/glossary.md has the words", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
