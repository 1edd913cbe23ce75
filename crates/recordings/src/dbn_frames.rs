//! The records of a DBN file, one by one, before they are decoded.
//!
//! Databento's decoder takes the length that a record states, and trusts that it fits to the record's type. A flipped bit makes that wrong, so
//! each record is looked at here first.

use std::io::{self, Read};

use dbn::enums::RType;
use dbn::{v1, v2, v3};

use crate::packed::Content;

/// The bytes before the metadata: `DBN`, the version, and the length of the metadata.
const PRELUDE_BYTES: usize = 8;
/// The most bytes of metadata: those of all symbols of an exchange for a year have some ten million.
const METADATA_BYTES_MAX: u32 = 128 << 20;
/// The bytes of a record's header; its first byte is the record's length in units of four bytes, the second one its type.
const HEADER_BYTES: usize = 16;
/// The bytes of the time of sending, which some files have behind each record.
const SENT_TIME_BYTES: usize = 8;
const LOST: &str = ": the rest of the file is not read, because nobody knows where the next record begins";

/// A reader of records.
pub(crate) struct Frames {
    content: Content,
    version: u8,
    /// The bytes behind each record.
    more: usize,
    record: Vec<u8>,
    /// The offset of the record that was read last, and of the next one.
    from: u64,
    at: u64,
}

/// The next record.
pub(crate) enum Frame {
    /// A record of a length that its type may have: [`Frames::record`].
    Record,
    /// A record of a type that is not known; more may follow.
    Unknown(String),
    /// A record that cannot have the length that it says, so where the next one begins is not known.
    Lost(String),
    /// The end of the file.
    End,
    /// The end of the file within a record.
    Cut,
    /// The file cannot be read any further.
    Failed(io::Error),
}

impl Frames {
    pub(crate) fn new(content: Content) -> Self {
        Self { content, version: 0, more: 0, record: Vec::new(), from: 0, at: 0 }
    }

    /// Reads the head of the file: prelude and metadata.
    pub(crate) fn head(&mut self) -> Result<Vec<u8>, String> {
        let mut head = vec![0; PRELUDE_BYTES];
        let cut = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => "it ends within its head".to_owned(),
            _ => error.to_string(),
        };
        self.content.read_exact(&mut head).map_err(cut)?;
        self.version = head[3];
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if length > METADATA_BYTES_MAX {
            return Err(format!(
                "its head says that it has {length} bytes, and {METADATA_BYTES_MAX} are the most"
            ));
        }
        // The room is taken as bytes come, whatever the length says.
        let read = self.content.by_ref().take(u64::from(length)).read_to_end(&mut head).map_err(cut)?;
        if read < length as usize {
            return Err("it ends within its head".to_owned());
        }
        self.at = head.len() as u64;
        self.from = self.at;
        Ok(head)
    }

    /// Says that each record has the time behind it at which it was sent.
    pub(crate) fn have_sent_times(&mut self) {
        self.more = SENT_TIME_BYTES;
    }

    /// Returns the bytes of the record that was read last.
    pub(crate) fn record(&self) -> &[u8] {
        &self.record
    }

    /// Returns the offset of the record that was read last.
    pub(crate) fn place(&self) -> u64 {
        self.from
    }

    pub(crate) fn read(&mut self) -> Frame {
        self.from = self.at;
        self.record.resize(1, 0);
        match self.fill(0) {
            Ok(0) => return Frame::End,
            Ok(_) => {}
            Err(error) => return Frame::Failed(error),
        }
        let length = usize::from(self.record[0]) * 4;
        // What is shorter than a header has no end that could be trusted either.
        self.record.resize(length.max(HEADER_BYTES), 0);
        match self.fill(1) {
            Ok(count) if count + 1 < self.record.len() => return Frame::Cut,
            Ok(_) => {}
            Err(error) => return Frame::Failed(error),
        }
        self.at += self.record.len() as u64;
        let kind = self.record[1];
        match size(self.version, kind).map(|size| size + self.more) {
            _ if length < HEADER_BYTES => Frame::Lost(format!(
                "a record says that it has {length} bytes, and its head has {HEADER_BYTES}{LOST}"
            )),
            None => Frame::Unknown(format!("there is no record of type {kind:#04x}")),
            Some(size) if length != size => {
                Frame::Lost(format!("a record of type {kind:#04x} has {size} bytes, and says {length}{LOST}"))
            }
            Some(_) => Frame::Record,
        }
    }

    /// Fills the record from this byte on; returns how many there were.
    fn fill(&mut self, from: usize) -> io::Result<usize> {
        let mut at = from;
        while at < self.record.len() {
            match self.content.read(&mut self.record[at..]) {
                Ok(0) => break,
                Ok(count) => at += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(at - from)
    }
}

/// Returns the bytes of a record of a type, in a version of the encoding; `None` where there is no such type.
fn size(version: u8, kind: u8) -> Option<usize> {
    macro_rules! of {
        ($message:ident) => {
            match version {
                1 => size_of::<v1::$message>(),
                2 => size_of::<v2::$message>(),
                _ => size_of::<v3::$message>(),
            }
        };
    }
    Some(match RType::try_from(kind).ok()? {
        RType::Mbo => of!(MboMsg),
        RType::Mbp0 => of!(TradeMsg),
        RType::Mbp1 | RType::Tbbo => of!(Mbp1Msg),
        RType::Mbp10 => of!(Mbp10Msg),
        RType::Status => of!(StatusMsg),
        RType::InstrumentDef => of!(InstrumentDefMsg),
        RType::Imbalance => of!(ImbalanceMsg),
        RType::Error => of!(ErrorMsg),
        RType::SymbolMapping => of!(SymbolMappingMsg),
        RType::System => of!(SystemMsg),
        RType::Statistics => of!(StatMsg),
        RType::Cmbp1 | RType::Tcbbo => of!(Cmbp1Msg),
        RType::Cbbo1S | RType::Cbbo1M => of!(CbboMsg),
        RType::Bbo1S | RType::Bbo1M => of!(BboMsg),
        // Bars of any interval, some of them of names that are not used any more.
        _ => of!(OhlcvMsg),
    })
}
