# Daily commands, for https://just.systems. Each one calls a script or cargo, and works without `just` as well.

# Lists the recipes.
default:
    @just --list

# Runs a simulated market, a gateway and a page in one process: http://127.0.0.1:7400/
demo *FLAGS:
    cargo run --release --bin tickwire -- demo {{FLAGS}}

# Runs all tests, with everything that they need; `just test --no-page` needs no browser.
test *FLAGS:
    scripts/test.sh {{FLAGS}}

# Checks formatting, words, lints, documentation, and who may depend on what.
lint:
    scripts/lint.sh

# Prints the circles of files that import each other, of every crate or of the folders that are named.
circles *FOLDERS:
    scripts/circles.py {{FOLDERS}}

# Simulates the whole path with many seeds: `just sim 3000 0` runs 3,000 from seed 0 on.
sim *SEEDS:
    scripts/sim.sh {{SEEDS}}

# Tests slow, stalled and distant readers on real sockets; `just sockets slow::` runs those of that name.
sockets *NAME:
    scripts/test-sockets.sh {{NAME}}

# Runs the Autobahn cases against an echo behind the listener, and against a gateway.
autobahn:
    scripts/test-autobahn.sh

# Runs hostile clients against a gateway, with a canary beside them; `just hostile wss` over TLS.
hostile *SCHEME:
    scripts/test-hostile.sh {{SCHEME}}

# Runs the criterion benches; `just bench --bench NAME` runs one of them.
bench *FLAGS:
    cargo bench --package tickwire-benches {{FLAGS}}

# Counts the engine's instructions per delivery and compares them with those that were kept.
instructions *FLAGS:
    scripts/instructions.sh {{FLAGS}}

# Fuzzes what reads bytes from strangers: `just fuzz 600 decode_json` gives one target ten minutes.
fuzz *FLAGS:
    scripts/fuzz.sh {{FLAGS}}

# Runs what must hold on every commit.
ci:
    .ci/run
