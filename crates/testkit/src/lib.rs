//! Test doubles and helpers. Never a dependency of what ships.
