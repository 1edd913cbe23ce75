//! The flags of commands that publish.

use clap::Args;

use crate::config::Flag;

#[derive(Debug, Args)]
pub(crate) struct BusFlags {
    /// NATS server; may be given several times
    #[arg(long = "bus", value_name = "URL")]
    pub(crate) servers: Vec<String>,
}

impl BusFlags {
    pub(crate) fn setting(&self) -> Flag {
        ("--bus", "bus.servers", (!self.servers.is_empty()).then(|| self.servers.join(",")))
    }
}

#[derive(Debug, Args)]
pub(crate) struct IngestFlags {
    #[command(flatten)]
    pub(crate) bus: BusFlags,
    /// Encoding of records on the bus: proto, msgpack
    #[arg(long)]
    pub(crate) encoding: Option<String>,
    /// Intervals of bars, as 1s,1m,5m,1h,1d
    #[arg(long, value_name = "INTERVALS")]
    pub(crate) bars: Option<String>,
    /// Publish only while this lease is held: of several ingesters that name the same one, one publishes and the others stand by
    #[arg(long, value_name = "NAME")]
    pub(crate) lease: Option<String>,
    /// Print the results of the run as JSON when it ends
    #[arg(long)]
    pub(crate) json: bool,
}

impl IngestFlags {
    pub(crate) fn settings(&self) -> [Flag; 4] {
        [
            self.bus.setting(),
            ("--encoding", "ingest.encoding", self.encoding.clone()),
            ("--bars", "ingest.bars", self.bars.clone()),
            ("--lease", "ingest.lease", self.lease.clone()),
        ]
    }
}
