//! The steps that a batch goes through: it is shown, recorded and counted.

use std::io;

use tickwire_client::{Disconnect, Event, Outcome, State};
use tickwire_wire::Granted;

use super::progress::Progress;
use super::recorder::Recorder;
use super::refusals::Refusals;
use super::show::Show;
use super::tally::Tally;
use crate::printing::printable;

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Go,
    End,
}

/// Takes batches until there is enough.
pub(super) struct Sink {
    pub(super) show: Show,
    pub(super) recorder: Option<Recorder>,
    pub(super) tally: Option<Tally>,
    pub(super) refusals: Option<Refusals>,
    pub(super) progress: Progress,
    /// Records that are still wanted; None: all.
    pub(super) left: Option<u64>,
    /// Whether a refusal that may be lifted is waited for.
    pub(super) waits: bool,
    /// Updates per second that were asked for; 0, also once it was said that they were not granted: all.
    pub(super) rate: f64,
    /// The reason why there is no connection, as it was said.
    pub(super) trouble: Option<String>,
    /// Lines for standard error that a table hides.
    pub(super) hidden: Vec<String>,
}

/// Lines that are kept until a table is gone.
const HIDDEN_MAX: usize = 100;

impl Sink {
    /// `now` is in nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// All symbols were refused; standard output or the recording cannot be written.
    pub(super) fn take<'a>(
        &mut self,
        events: impl IntoIterator<Item = &'a Event>,
        sent_time: Option<u64>,
        now: u64,
    ) -> anyhow::Result<Flow> {
        let mut flow = Flow::Go;
        for event in events {
            if let Some(tally) = &mut self.tally {
                tally.event(event);
            }
            // What comes behind the last record that was asked for is only counted.
            if flow == Flow::End {
                continue;
            }
            if let Some(recorder) = &mut self.recorder {
                recorder.event(event, sent_time);
            }
            if is_gone(self.show.event(event, sent_time, now))? {
                flow = Flow::End;
            }
            match event {
                Event::Record(_) => flow = self.count(flow),
                Event::Subscribed(outcome) => self.subscribed(outcome)?,
                Event::State(State::Connected { address, .. }) => self.connected(address),
                Event::State(State::Disconnected { reason, retry_in: Some(_) }) => self.disconnected(reason),
                Event::State(State::BookBroken { scale, reason }) => {
                    self.say(&format!("book {}: {reason}", scale.symbol));
                }
                Event::State(State::Ended { scale, channel, reason, returns }) => {
                    let again = if *returns { "; it was defined anew" } else { "" };
                    self.say(&format!("ended: {} {}: {reason}{again}", channel.name(), scale.symbol));
                    let refusals = self.refusals.as_mut();
                    if refusals.is_some_and(|refusals| refusals.ended(*channel, &scale.symbol, *returns)) {
                        self.say("all that was asked for has ended");
                        flow = Flow::End;
                    }
                }
                Event::Rejected(error) => self.say(&format!("error: {}: {}", error.code, error.message)),
                _ => {}
            }
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.end_batch(sent_time)?;
        }
        Ok(if is_gone(self.show.flush())? { Flow::End } else { flow })
    }

    fn connected(&mut self, address: &str) {
        if self.trouble.take().is_some() {
            self.say(&format!("connected to {address}"));
        }
    }

    /// Attempts that fail for the same reason are said once.
    fn disconnected(&mut self, reason: &Disconnect) {
        let reason = reason.to_string();
        if self.trouble.as_ref() != Some(&reason) {
            self.say(&format!("{reason}; trying again"));
            self.trouble = Some(reason);
        }
    }

    fn count(&mut self, flow: Flow) -> Flow {
        let Some(left) = &mut self.left else { return flow };
        *left = left.saturating_sub(1);
        if *left == 0 { Flow::End } else { flow }
    }

    fn subscribed(&mut self, outcome: &Outcome) -> anyhow::Result<()> {
        let Some(refusals) = &mut self.refusals else { return Ok(()) };
        let mut news = refusals.outcome(outcome);
        let is_other = |granted: &&Granted| {
            !granted.channel().is_lossless() && (granted.max_rate - self.rate).abs() > f64::EPSILON
        };
        if self.rate > 0.0
            && let Some(granted) = outcome.granted.iter().find(is_other)
        {
            let rate = if granted.max_rate > 0.0 {
                format!("{} a second", granted.max_rate)
            } else {
                "all".to_owned()
            };
            news.push(format!(
                "note: {} updates a second were asked for, the gateway sends {rate}",
                self.rate
            ));
            self.rate = 0.0;
        }
        let (is_hopeless, count) = (refusals.is_hopeless(self.waits), refusals.count());
        for line in news {
            self.say(&line);
        }
        if is_hopeless {
            let all = if count == 1 { "the only subscription was" } else { "all subscriptions were" };
            let wait = if self.waits { "" } else { ", or give --wait for what may come later" };
            anyhow::bail!("{all} refused; mend the symbols{wait}");
        }
        Ok(())
    }

    /// Says it on standard error, at once or when the table is gone.
    fn say(&mut self, line: &str) {
        let line = printable(line);
        if !self.show.is_table() {
            self.progress.line(&line);
        } else if self.hidden.len() < HIDDEN_MAX {
            self.hidden.push(line);
        }
    }

    /// Gives the terminal back and says what waited for that.
    pub(super) fn uncover(&mut self) {
        if self.show.is_table() {
            self.show = Show::Nothing;
        }
        self.hidden.drain(..).for_each(crate::printing::complain);
    }
}

/// Returns whether the reader of standard output went away, which ends it quietly.
pub(super) fn is_gone(written: io::Result<()>) -> anyhow::Result<bool> {
    match written {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(anyhow::anyhow!("standard output cannot be written: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use tickwire_wire::Channel;

    use super::*;
    use crate::tap::recorder::tests::{connected, quote, refused, subscribed};

    fn sink(left: Option<u64>) -> Sink {
        let refusals = Refusals::new(&[Channel::Quote], &["sim:NOPE".to_owned()]);
        Sink {
            show: Show::Nothing,
            recorder: None,
            tally: Some(Tally::default()),
            refusals: Some(refusals),
            progress: Progress::start(false),
            left,
            waits: false,
            rate: 0.0,
            trouble: None,
            hidden: Vec::new(),
        }
    }

    #[test]
    fn it_ends_with_the_last_record_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = sink(Some(2));
        sink.recorder = Some(Recorder::create(&folder.path().join("a.tw")).unwrap());
        let events = [connected(), subscribed(&[Channel::Quote]), quote(7)];
        assert_eq!(sink.take(&events, Some(1), 2).unwrap(), Flow::Go);
        assert_eq!(sink.take(&[quote(8), quote(9)], Some(3), 4).unwrap(), Flow::End);
        assert_eq!(sink.recorder.unwrap().records(), 2);
    }

    #[test]
    fn it_ends_when_all_has_ended() {
        use crate::tap::recorder::tests::ended;
        let mut sink = sink(None);
        sink.refusals = Some(Refusals::new(&[Channel::Quote], &["sim:A B".to_owned()]));
        let events = [connected(), subscribed(&[Channel::Quote]), quote(7)];
        assert_eq!(sink.take(&events, Some(1), 2).unwrap(), Flow::Go);
        assert_eq!(sink.take([&ended(Channel::Quote, true)], Some(1), 2).unwrap(), Flow::Go);
        assert_eq!(sink.take([&ended(Channel::Quote, false)], Some(1), 2).unwrap(), Flow::End);
    }

    #[test]
    fn it_fails_when_all_are_refused() {
        let outcome = Outcome::new(Vec::new(), vec![refused("sim:NOPE", true)]);
        let event = Event::Subscribed(outcome);
        let error = sink(None).take([&event], None, 0).unwrap_err().to_string();
        assert!(error.contains("refused") && error.contains("--wait"), "{error}");
        let mut waiting = sink(None);
        waiting.waits = true;
        assert_eq!(waiting.take([&event], None, 0).unwrap(), Flow::Go);
    }
}
