//! Whoever watches what becomes of commands, beside the sessions that send them: for traces.

use std::fmt::Debug;

use tickwire_wire::Command;

/// Told of each command when it is taken, and when what could be done about it at once is done. Receipts are no commands in this
/// sense: they come with the data.
pub trait CommandWatcher: Debug + Send {
    /// A session's command is taken, with so many symbols in it.
    fn begins(&mut self, session: &str, command: &'static str, symbols: usize);

    /// The command that was taken last is done with.
    fn is_done(&mut self);
}

/// Returns the name of a command, and how many symbols are in it.
pub(super) fn described(command: &Command) -> (&'static str, usize) {
    match command {
        Command::Subscribe(command) => ("subscribe", command.symbols.len()),
        Command::Unsubscribe(command) => ("unsubscribe", command.symbols.len()),
        Command::SetRate(command) => ("set_rate", command.symbols.len()),
        Command::Resume(command) => ("resume", command.positions.len()),
        Command::Receipt(_) => ("receipt", 0),
        Command::Ledger(_) => ("ledger", 0),
        Command::Token(_) => ("token", 0),
    }
}
