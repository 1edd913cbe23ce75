//! Commands to the gateway, cut to the size that it takes.

use std::time::Duration;

use tickwire_wire::{
    Channel, Command, Resume, ResumePosition, Secret, Subscribe, Token, Unsubscribe, encode_command,
};
use tokio::time::Instant;

use super::Session;
use super::requests::{Kind, Pending};
use super::wanted::Group;

/// Bytes of a command where the gateway stated no limit.
const COMMAND_BYTES: usize = 4096;

impl Session {
    pub(super) fn subscribe(&mut self, group: &Group, kind: Kind, request: Option<u64>, now: Instant) {
        let (channel, max_rate) = (group.channel, group.max_rate);
        let make = |id, symbols| {
            Command::Subscribe(Subscribe { id, channel: channel.name().to_owned(), symbols, max_rate })
        };
        self.send(kind, channel, &group.symbols, request, now, make);
    }

    pub(super) fn unsubscribe(
        &mut self,
        channel: Channel,
        symbols: &[String],
        kind: Kind,
        request: Option<u64>,
        now: Instant,
    ) {
        let make = |id, symbols| {
            Command::Unsubscribe(Unsubscribe { id, channel: channel.name().to_owned(), symbols })
        };
        self.send(kind, channel, symbols, request, now, make);
    }

    /// Hands in the next token of the session.
    pub(crate) fn hand_in(&mut self, token: &Secret, request: Option<u64>, now: Instant) {
        let make = |id, _| Command::Token(Token { id, token: token.expose().to_owned() });
        self.send(Kind::Token, Channel::Unknown, &[], request, now, make);
    }

    /// Sends one command, or several where one would be too large.
    pub(super) fn send(
        &mut self,
        kind: Kind,
        channel: Channel,
        symbols: &[String],
        request: Option<u64>,
        now: Instant,
        make: impl Fn(u64, Vec<String>) -> Command,
    ) {
        let mut parts = vec![symbols];
        while let Some(part) = parts.pop() {
            let id = self.requests.next_id();
            let command = make(id, part.to_vec());
            if part.len() > 1 && !self.fits(&command) {
                let (first, rest) = part.split_at(part.len() / 2);
                parts.extend([rest, first]);
                continue;
            }
            self.commands.push(command);
            self.requests.sent(request);
            let symbols = part.to_vec();
            let sent_at = now + self.queueing_time();
            self.requests.pending.insert(id, Pending { kind, channel, symbols, request, sent_at });
        }
        self.tick_by(now + self.settings.command_timeout);
    }

    /// How long a command waits for those before it, at the pace that the gateway allows.
    fn queueing_time(&self) -> Duration {
        let per_second = self.limits.map_or(0, |limits| limits.commands_per_second);
        let interval = Duration::from_secs(2).checked_div(per_second).unwrap_or_default();
        interval * self.requests.pending.len() as u32
    }

    /// Says what the client has of the lossless channels that are not granted on this connection yet. Always all of
    /// them, because a gateway may take a resume vector in place of the one before.
    pub(super) fn resume(&mut self) {
        let mut positions = Vec::new();
        for instrument in self.instruments.iter() {
            for (channel, subscription) in instrument.subscriptions() {
                let symbol = &instrument.scale.symbol;
                if channel.is_lossless() && !subscription.is_granted {
                    let (epoch, sequence) = subscription.tracked.sequence.position();
                    let (channel, symbol) = (channel.name().to_owned(), symbol.clone());
                    positions.push(ResumePosition { channel, symbol, epoch, sequence });
                }
            }
        }
        if positions.is_empty() {
            return;
        }
        positions.sort_by(|a, b| (&a.channel, &a.symbol).cmp(&(&b.channel, &b.symbol)));
        let mut parts = vec![positions.as_slice()];
        while let Some(part) = parts.pop() {
            let command = Command::Resume(Resume { id: self.requests.next_id(), positions: part.to_vec() });
            if part.len() > 1 && !self.fits(&command) {
                let (first, rest) = part.split_at(part.len() / 2);
                parts.extend([rest, first]);
            } else {
                self.commands.push(command);
            }
        }
    }

    fn fits(&self, command: &Command) -> bool {
        let stated = self.limits.map_or(0, |limits| limits.command_bytes as usize);
        let mut bytes = Vec::new();
        encode_command(self.settings.encoding, command, &mut bytes);
        bytes.len() <= if stated == 0 { COMMAND_BYTES } else { stated }
    }

    /// Unsubscribes from books whose time for a repair has come, and subscribes to them again.
    pub(super) fn repair_books(&mut self, now: Instant) {
        let mut due = Vec::new();
        let mut next = None;
        for instrument in self.instruments.iter_mut() {
            let Some(book) = &mut instrument.book else { continue };
            if book.repair_at().is_some_and(|at| at <= now) {
                book.repairing(now);
                due.push(instrument.scale.symbol.clone());
            }
            next = [next, book.repair_at()].into_iter().flatten().min();
        }
        for symbol in due {
            if let Some(subscription) =
                self.instruments.get_mut(&symbol).and_then(|i| i.subscription_mut(Channel::Book))
            {
                // Until it is granted again, what still comes belongs to the old subscription.
                subscription.is_granted = false;
                subscription.awaits_snapshot = true;
            }
            let max_rate = self.wanted.max_rate(Channel::Book, &symbol);
            let symbols = vec![symbol];
            self.unsubscribe(Channel::Book, &symbols, Kind::RepairUnsubscribe, None, now);
            self.subscribe(&Group { channel: Channel::Book, max_rate, symbols }, Kind::Repair, None, now);
        }
        if let Some(at) = next {
            self.tick_by(at);
        }
    }
}
