//! The requests of handles, and who waits for which response.

use std::collections::{HashMap, HashSet};

use tickwire_wire::{Channel, Command, LedgerRequest, Refused, SetRate, SymbolName};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Session;
use super::wanted::Group;
use crate::error::CommandError;
use crate::handle::{Ask, Options, Request, Response};

/// Requests that may wait for a response at the same time; further ones wait in their handles.
const OPEN_REQUESTS_MAX: usize = 256;

/// The reason why a command was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Subscribe,
    SetRate,
    Unsubscribe,
    Ledger,
    Token,
    /// The two halves of the repair of a book. The program hears of it only when it fails.
    RepairUnsubscribe,
    Repair,
}

/// A command without its response.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) kind: Kind,
    pub(super) channel: Channel,
    pub(super) symbols: Vec<String>,
    pub(super) request: Option<u64>,
    pub(super) sent_at: Instant,
}

struct Open {
    /// The symbols to subscribe to, on the next connection too.
    subscribe: Option<Group>,
    /// Commands whose responses are still to come.
    commands: usize,
    /// Refusals that did not come from the gateway.
    refused_here: usize,
    response: Response,
    sender: oneshot::Sender<Result<Response, CommandError>>,
}

#[derive(Default)]
pub(crate) struct Requests {
    last_id: u64,
    pub(super) pending: HashMap<u64, Pending>,
    open: HashMap<u64, Open>,
}

impl Requests {
    pub(super) fn has_room(&mut self) -> bool {
        if self.open.len() >= OPEN_REQUESTS_MAX {
            self.open.retain(|_, open| !open.sender.is_closed());
        }
        self.open.len() < OPEN_REQUESTS_MAX && self.pending.len() < OPEN_REQUESTS_MAX * 4
    }

    /// Subscriptions wait for the next connection, all else ends with this one.
    pub(super) fn disconnected(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for request in pending.values().filter_map(|pending| pending.request) {
            if self.open.get(&request).is_some_and(|open| open.subscribe.is_none()) {
                self.finish(request, Some(CommandError::Disconnected));
            }
        }
    }

    /// No response will come any more.
    pub(super) fn end(&mut self) {
        self.open.clear();
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn finish(&mut self, request: u64, error: Option<CommandError>) {
        if let Some(open) = self.open.remove(&request) {
            // Who does not wait any more does not need the response.
            let _ = open.sender.send(error.map_or(Ok(open.response), Err));
        }
    }

    /// One more command carries a part of this request.
    pub(super) fn sent(&mut self, request: Option<u64>) {
        if let Some(open) = request.and_then(|request| self.open.get_mut(&request)) {
            open.commands += 1;
        }
    }

    /// The response to a command of this request came.
    pub(super) fn answered(&mut self, request: Option<u64>, add: impl FnOnce(&mut Response)) {
        let Some(request) = request else { return };
        let Some(open) = self.open.get_mut(&request) else { return };
        add(&mut open.response);
        open.commands = open.commands.saturating_sub(1);
        if open.commands == 0 {
            self.finish(request, None);
        }
    }
}

impl Session {
    /// Wants these without anybody who waits for the outcome.
    pub(crate) fn want(&mut self, channel: Channel, symbols: &[String], options: Options) {
        for symbol in symbols {
            self.wanted.insert(channel, symbol, options.max_rate);
        }
    }

    pub(crate) fn request(&mut self, request: Request, now: Instant) {
        let id = self.requests.next_id();
        let Request { ask, response: sender } = request;
        let mut open =
            Open { subscribe: None, commands: 0, refused_here: 0, response: Response::default(), sender };
        match ask {
            Ask::Subscribe { channel, symbols, options } => {
                let (symbols, refused) = self.admit(channel, symbols);
                self.want(channel, &symbols, options);
                open.refused_here = refused.len();
                open.response.outcome.refused = refused;
                let group = Group { channel, max_rate: options.max_rate, symbols };
                open.subscribe = (!group.symbols.is_empty()).then(|| group.clone());
                self.requests.open.insert(id, open);
                if group.symbols.is_empty() {
                    self.requests.finish(id, None);
                } else if self.is_connected() {
                    self.subscribe(&group, Kind::Subscribe, Some(id), now);
                }
            }
            Ask::Unsubscribe { channel, symbols } => {
                self.requests.open.insert(id, open);
                self.forget(channel, &symbols);
                if self.is_connected() && !symbols.is_empty() {
                    self.unsubscribe(channel, &symbols, Kind::Unsubscribe, Some(id), now);
                } else {
                    self.requests.finish(id, None);
                }
            }
            Ask::SetRate { channel, symbols, max_rate } => {
                self.requests.open.insert(id, open);
                for symbol in &symbols {
                    self.wanted.set_rate(channel, symbol, max_rate);
                }
                if !self.is_connected() {
                    self.requests.finish(id, Some(CommandError::Disconnected));
                } else if symbols.is_empty() {
                    self.requests.finish(id, None);
                } else {
                    let make = |id, symbols: Vec<String>| {
                        Command::SetRate(SetRate {
                            id,
                            channel: channel.name().to_owned(),
                            symbols,
                            max_rate,
                        })
                    };
                    self.send(Kind::SetRate, channel, &symbols, Some(id), now, make);
                }
            }
            Ask::Token { token } => {
                self.requests.open.insert(id, open);
                if self.is_connected() {
                    self.hand_in(&token, Some(id), now);
                } else {
                    // The next connection is opened with it.
                    self.requests.finish(id, None);
                }
            }
            Ask::Ledger => {
                self.requests.open.insert(id, open);
                if self.is_connected() {
                    let make = |id, _| Command::Ledger(LedgerRequest { id });
                    self.send(Kind::Ledger, Channel::Unknown, &[], Some(id), now, make);
                } else {
                    self.requests.finish(id, Some(CommandError::Disconnected));
                }
            }
        }
    }

    /// Asks for everything after a connect: the resume vector goes first, then all that is wanted.
    pub(super) fn subscribe_all(&mut self, now: Instant) {
        self.resume();
        let mut asked: Vec<(u64, Group)> = Vec::new();
        for (id, open) in &mut self.requests.open {
            if let Some(group) = &mut open.subscribe {
                group.symbols.retain(|symbol| self.wanted.contains(group.channel, symbol));
                open.commands = 0;
                open.response.outcome.granted.clear();
                open.response.outcome.refused.truncate(open.refused_here);
                asked.push((*id, group.clone()));
            }
        }
        asked.sort_by_key(|(id, _)| *id);
        let is_asked: HashSet<(Channel, &str)> = asked
            .iter()
            .flat_map(|(_, group)| group.symbols.iter().map(|symbol| (group.channel, symbol.as_str())))
            .collect();
        for group in self.wanted.groups(|channel, symbol| is_asked.contains(&(channel, symbol))) {
            self.subscribe(&group, Kind::Subscribe, None, now);
        }
        for (id, group) in asked {
            if group.symbols.is_empty() {
                self.requests.finish(id, None);
            } else {
                self.subscribe(&group, Kind::Subscribe, Some(id), now);
            }
        }
    }

    /// Sorts out what would cost the whole session: a name too long for a command, and more than is allowed here.
    fn admit(&self, channel: Channel, symbols: Vec<String>) -> (Vec<String>, Vec<Refused>) {
        let (mut admitted, mut refused) = (Vec::new(), Vec::new());
        let max = self.settings.subscriptions_max;
        for symbol in symbols {
            let no = if let Err(error) = SymbolName::parse(&symbol) {
                Some(("bad_symbol", error.to_string()))
            } else if !self.wanted.contains(channel, &symbol) && self.wanted.len() + admitted.len() >= max {
                Some(("limit", format!("this client is set to at most {max} subscriptions")))
            } else {
                None
            };
            match no {
                None => admitted.push(symbol),
                Some((code, message)) => {
                    let (code, channel) = (code.to_owned(), channel.into());
                    refused.push(Refused { channel, symbol, code, message, may_retry: false });
                }
            }
        }
        (admitted, refused)
    }

    /// The program does not want these any more.
    pub(super) fn forget(&mut self, channel: Channel, symbols: &[String]) {
        for symbol in symbols {
            self.wanted.remove(channel, symbol);
            self.instruments.remove(symbol, channel);
            let Some(venue) = symbol.strip_suffix(":*") else { continue };
            let wanted = &self.wanted;
            let of_venue: Vec<_> = self
                .instruments
                .iter()
                .filter(|i| *i.venue == *venue && !wanted.contains(channel, &i.scale.symbol))
                .map(|i| i.scale.symbol.clone())
                .collect();
            for symbol in of_venue {
                self.instruments.remove(&symbol, channel);
            }
        }
    }
}
