//! `tickwire ingest --dry-run`: what would be published, in the JSON encoding.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

use tickwire_bus::{Backplane as _, BusEvent, Inbox, InboxLimits, MemoryBus, MemoryLimits, Subject};
use tickwire_feed::adapter::Adapter;
use tickwire_feed::{IngestConfig, Ingester};
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Batch, Body, Channel, Encoding, Message, Scale, encode_message};
use tokio_util::sync::CancellationToken;

use crate::printing::{Output, complain};

/// The messages that are printed at a time.
const EVENTS_MAX: usize = 1_024;

/// Runs an ingester whose bus is this process, and prints every record.
pub(crate) async fn run(
    config: IngestConfig,
    adapter: impl Adapter,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let bus = Arc::new(MemoryBus::new(MemoryLimits::default()));
    let (interest, inbox) = bus.inbox(InboxLimits::default());
    for (token, channel) in (0..).zip(Channel::ALL) {
        interest.subscribe(&Subject::data_all_symbols(adapter.venue(), channel.name())?, token)?;
    }
    let venue = adapter.venue().to_owned();
    let ingester = Ingester::new(config, adapter, bus);
    let running = ingester.run(stop);
    tokio::select! {
        summary = running => {
            if let Some(reason) = summary?.lost {
                anyhow::bail!("the source was lost: {reason}");
            }
        }
        () = print(&venue, inbox) => {}
    }
    Ok(())
}

/// Prints records until the bus is gone or nobody reads them.
async fn print(venue: &str, mut inbox: Inbox) {
    let mut printer = Printer { venue, scales: HashMap::new(), line: Vec::new(), output: Output::new() };
    let mut events = Vec::new();
    while inbox.recv_batch(&mut events, EVENTS_MAX).await {
        for event in events.drain(..) {
            let printed = match event {
                BusEvent::Message { payload, .. } => printer.payload(&payload),
                BusEvent::Lost { messages, .. } => {
                    complain(format_args!("{messages:?} messages came too quickly to be printed"));
                    Ok(())
                }
                _ => Ok(()),
            };
            if printed.is_err() {
                return;
            }
        }
        if printer.output.flush().is_err() {
            return;
        }
    }
}

struct Printer<'v> {
    venue: &'v str,
    /// The names and scales of the instruments, by their numbers.
    scales: HashMap<u32, Scale>,
    line: Vec<u8>,
    output: Output,
}

impl Printer<'_> {
    fn payload(&mut self, payload: &[u8]) -> std::io::Result<()> {
        let Ok((header, records)) = BusHeader::parse(payload) else {
            complain("a message of the bus cannot be read");
            return Ok(());
        };
        for part in header.split(records) {
            let Ok((_, _, bytes)) = part else { continue };
            for message in Batch::new(header.encoding, bytes).flatten() {
                let Message::Record(record) = &message else { continue };
                if let Body::Instrument(definition) = &record.body {
                    let scale = Scale {
                        symbol: format!("{}:{}", self.venue, definition.symbol),
                        price_decimals: definition.price_decimals,
                        size_decimals: definition.size_decimals,
                    };
                    self.scales.insert(record.instrument, scale);
                }
                let scale = self.scales.get(&record.instrument).cloned().unwrap_or_default();
                self.line.clear();
                encode_message(Encoding::Json, &message, &scale, &mut self.line);
                self.output.write_all(&self.line)?;
            }
        }
        Ok(())
    }
}
