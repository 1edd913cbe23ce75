//! WebSocket frames and handshakes.

mod fragments;
mod frames;
mod handshake;
mod text;
