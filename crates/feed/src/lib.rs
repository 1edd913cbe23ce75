//! Feed adapters, normalizing, books, sequencing, publishing.
