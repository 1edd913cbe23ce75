//! A stream from a gateway.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use tickwire_client::{
    Batch, BoxTransport, Builder, Client, ConnectError, Event, Options, Outcome, Transport,
};
use tickwire_wire::{Channel, Ledger, Refused, Secret, SymbolName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::TapCommand;
use super::progress::Progress;
use super::recorder::Recorder;
use super::refusals::Refusals;
use super::screen::Pressed;
use super::show::{Form, Show};
use super::sink::{Flow, Sink, is_gone};
use super::tally::{self, Tally};
use crate::printing::{complain, say};
use crate::trust::read_token;

/// The time between two drawings of the table.
const TICK: Duration = Duration::from_millis(100);
/// The time between two measurements, and between two writes of a slow recording.
const SECOND: Duration = Duration::from_secs(1);
/// The time that the gateway has for its ledger.
const LEDGER_WAIT: Duration = Duration::from_secs(10);

/// Connects, and takes what comes until it is enough.
///
/// # Errors
/// No connection, one that must not be opened again, all symbols refused, an output that cannot be written, or a ledger
/// that does not add up.
pub(super) async fn run(command: &TapCommand, form: Form, stop: &CancellationToken) -> anyhow::Result<()> {
    let channels = if command.channels.is_empty() { vec![Channel::Quote] } else { command.channels.clone() };
    let received = Arc::new(AtomicU64::new(0));
    let (symbols, bad) = sort_out(&command.symbols, &channels);
    let Some(mut client) = connect(command, &channels, &symbols, &received, stop).await? else {
        return Ok(());
    };
    let recorder = command.record.as_deref().map(Recorder::create).transpose()?;
    let mut sink = Sink {
        show: Show::open(form, command.arrow()?).context("the output cannot be written")?,
        progress: Progress::start(recorder.is_some() && form == Form::Nothing),
        recorder,
        tally: command.ledger.then(Tally::default),
        refusals: Some(Refusals::new(&channels, &command.symbols)),
        left: command.count,
        waits: command.wait,
        rate: command.max_rate.unwrap_or(0.0),
        trouble: None,
        hidden: Vec::new(),
    };
    if let Show::Table(screen) = &mut sink.show {
        screen.board.title = format!("connecting to {}", command.urls.join(", "));
    }
    let started = Instant::now();
    let mut outcome = match sink.take(&bad, None, unix_now()) {
        Ok(_) => pump(&mut client, &mut sink, command.duration, &received, stop).await,
        Err(error) => Err(error),
    };
    sink.uncover();
    if let Some(recorder) = &mut sink.recorder {
        outcome = outcome.and(recorder.flush());
        sink.progress.end(recorder, started.elapsed());
    }
    if outcome.is_ok()
        && let Some(mut tally) = sink.tally.take()
    {
        let ledger = ask_ledger(&mut client, &mut tally).await?;
        let findings = tally.findings();
        tell_ledger(ledger, &findings, form, &mut sink)?;
        outcome = if findings.is_empty() { Ok(()) } else { Err(disagreement(&client)) };
    }
    client.close().await;
    outcome
}

/// A name that cannot be right is refused here: in a command it might cost the whole session.
fn sort_out(symbols: &[String], channels: &[Channel]) -> (Vec<String>, Option<Event>) {
    let mut refused = Vec::new();
    let is_good = |symbol: &&String| {
        let Err(error) = SymbolName::parse(symbol) else { return true };
        refused.extend(channels.iter().map(|channel| Refused {
            channel: *channel as i32,
            symbol: (*symbol).clone(),
            code: "bad_symbol".to_owned(),
            message: error.to_string(),
            may_retry: false,
        }));
        false
    };
    let good = symbols.iter().filter(is_good).cloned().collect();
    let outcome = Outcome::new(Vec::new(), refused);
    (good, (!outcome.refused.is_empty()).then_some(Event::Subscribed(outcome)))
}

/// Shows the token of the file, or that of the environment.
fn with_token(builder: Builder, file: Option<&Path>) -> Builder {
    if let Some(file) = file.map(Path::to_owned) {
        return builder.token_provider(move || {
            let file = file.clone();
            async move { Ok(read_token(&file)?) }
        });
    }
    match std::env::var("TICKWIRE_TOKEN") {
        Ok(token) if !token.is_empty() => builder.token(Secret::new(token.trim())),
        _ => builder,
    }
}

/// Connects. It returns `None` when the user did not want to wait any longer.
async fn connect(
    command: &TapCommand,
    channels: &[Channel],
    symbols: &[String],
    received: &Arc<AtomicU64>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Client>> {
    let (first, more) = command.urls.split_first().ok_or(ConnectError::NoUrl)?;
    let received = Arc::clone(received);
    let mut builder =
        command.trust.apply(Client::builder(first)).encoding(command.encoding).connector(move |target| {
            let received = Arc::clone(&received);
            async move {
                let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(Counting { stream, received }) as BoxTransport)
            }
        });
    builder = with_token(builder, command.token_file.as_deref());
    if command.token_by_message {
        builder = builder.token_by_message();
    }
    if let Some(window_ms) = command.window_ms {
        builder = builder.window(Duration::from_millis(window_ms.into()));
    }
    if let Some(heartbeat_ms) = command.heartbeat_ms {
        builder = builder.heartbeat(Duration::from_millis(heartbeat_ms.into()));
    }
    for url in more {
        builder = builder.url(url);
    }
    for channel in channels {
        let options = Options::max_rate(command.max_rate.unwrap_or(0.0));
        builder = builder.subscribe_with(*channel, symbols, options);
    }
    if command.wait {
        return Ok(Some(builder.start()?));
    }
    let connected = tokio::select! {
        connected = builder.connect() => connected,
        () = stop.cancelled() => return Ok(None),
    };
    match connected {
        Ok(client) => Ok(Some(client)),
        Err(error) if error.may_retry() => Err(anyhow::anyhow!("{error}; --wait waits for it")),
        Err(error) => Err(anyhow::anyhow!("{error}")),
    }
}

enum Woken {
    Batch(Option<Batch>),
    Pressed(Pressed),
    Tick,
    Enough,
}

async fn pump(
    client: &mut Client,
    sink: &mut Sink,
    duration: Option<Duration>,
    received: &AtomicU64,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let (mut deadline, mut measured) = (None, Instant::now());
    loop {
        let until = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let woken = tokio::select! {
            batch = client.next() => Woken::Batch(batch),
            pressed = pressed(&mut sink.show) => Woken::Pressed(pressed),
            _ = ticks.tick() => Woken::Tick,
            () = until => Woken::Enough,
            () = stop.cancelled() => Woken::Enough,
        };
        match woken {
            Woken::Batch(Some(batch)) => {
                if deadline.is_none() && client.is_connected() {
                    deadline = duration.map(|duration| tokio::time::Instant::now() + duration);
                }
                if sink.take(&batch, batch.sent_time(), unix_now())? == Flow::End {
                    return Ok(());
                }
            }
            Woken::Batch(None) => {
                return match client.end() {
                    Some(reason) => Err(anyhow::anyhow!("{reason}")),
                    None => Ok(()),
                };
            }
            Woken::Tick => {
                if measured.elapsed() >= SECOND {
                    second(sink, measured.elapsed(), received)?;
                    measured = Instant::now();
                }
                draw(sink, client)?;
            }
            Woken::Pressed(Pressed::Redraw) => draw(sink, client)?,
            Woken::Pressed(Pressed::Quit) | Woken::Enough => return Ok(()),
        }
    }
}

/// # Cancel safety
/// Cancel safe.
async fn pressed(show: &mut Show) -> Pressed {
    match show {
        Show::Table(screen) => screen.pressed().await,
        _ => std::future::pending().await,
    }
}

fn second(sink: &mut Sink, elapsed: Duration, received: &AtomicU64) -> anyhow::Result<()> {
    if let Some(recorder) = &mut sink.recorder {
        recorder.flush()?;
        sink.progress.show(recorder);
    }
    if let Show::Table(screen) = &mut sink.show {
        screen.board.bytes = Some(received.load(Ordering::Relaxed));
        screen.board.measure(elapsed.as_secs_f64());
    }
    Ok(())
}

fn draw(sink: &mut Sink, client: &Client) -> anyhow::Result<()> {
    if let Show::Table(screen) = &mut sink.show {
        screen.board.vouch(|symbol| client.is_current(symbol));
        screen.draw(unix_now()).context("the terminal cannot be written")?;
    }
    Ok(())
}

/// Reads on until the ledger comes, which comes in order, and what is wrong with it before it.
async fn ask_ledger(client: &mut Client, tally: &mut Tally) -> anyhow::Result<Ledger> {
    let handle = client.handle();
    let mut asked = tokio::spawn(async move { handle.ledger().await });
    let response = async {
        loop {
            tokio::select! {
                batch = client.next() => {
                    for event in batch.into_iter().flatten() {
                        match event {
                            // One that nobody asked for is of what ended, or of the end of a session.
                            Event::Ledger(ledger) if ledger.id != 0 => return Ok(ledger),
                            event => tally.event(&event),
                        }
                    }
                }
                // The ledger itself is an event too; here only errors count.
                Ok(Err(error)) = &mut asked => return Err(error.into()),
            }
        }
    };
    let response: anyhow::Result<Ledger> = tokio::time::timeout(LEDGER_WAIT, response)
        .await
        .unwrap_or_else(|_| Err(anyhow::anyhow!("no response in time")));
    response.context("no ledger")
}

fn tell_ledger(ledger: Ledger, findings: &[String], form: Form, sink: &mut Sink) -> anyhow::Result<()> {
    let text = tally::text(&ledger);
    match form {
        Form::Json => {
            let shown = sink.show.event(&Event::Ledger(ledger), None, 0).and_then(|()| sink.show.flush());
            is_gone(shown)?;
        }
        // The rows of a table do not mix with those of another.
        Form::Csv | Form::Arrow => complain(text),
        Form::Table | Form::Nothing => say(text),
    }
    findings.iter().for_each(complain);
    Ok(())
}

fn disagreement(client: &Client) -> anyhow::Error {
    let counters = client.counters();
    let (duplicates, ignored) = (counters.duplicates, counters.ignored);
    let set_aside = match duplicates + ignored {
        0 => String::new(),
        _ => format!(" (the client set aside {duplicates} duplicates, and {ignored} records of no use)"),
    };
    anyhow::anyhow!(
        "the ledger does not add up{set_aside}; that is a fault of the gateway or of the client: report it"
    )
}

/// Returns the time in nanoseconds since the Unix epoch.
pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// A stream whose received bytes are counted.
struct Counting<S> {
    stream: S,
    received: Arc<AtomicU64>,
}

impl<S: Transport> AsyncRead for Counting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.received.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(read)
    }
}

impl<S: Transport> AsyncWrite for Counting<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
