# To be sourced: the packages that release builds of tests, examples and instruction counts select.
# Every script selects all of them, so that cargo compiles each dependency once, with the same features. They do without NATS and TLS,
# which take minutes to compile.
# shellcheck shell=bash disable=SC2034
release_packages=(--package tickwire-sim --package tickwire-gateway --package tickwire-benches)
