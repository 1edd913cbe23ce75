//! Sessions, subscription index, outbox, fan-out.
