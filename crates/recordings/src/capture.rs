//! Captures of networks, pcap and pcapng: the datagrams of UDP in them.

use etherparse::{LaxSlicedPacket, TransportSlice};
use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

use crate::packed::Content;

/// The room for packets, of which none is longer.
const BUFFER_BYTES: usize = 512 << 10;
const NANOS: u64 = 1_000_000_000;
/// The beginnings of files: pcap in both byte orders, with micro- and with nanoseconds, and pcapng.
const MAGICS: [[u8; 4]; 5] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0x0a, 0x0d, 0x0d, 0x0a],
];

/// Returns whether a file begins as a capture does.
pub(crate) fn is_capture(begin: &[u8]) -> bool {
    MAGICS.iter().any(|magic| begin.starts_with(magic))
}

/// A reader of the packets of a capture.
pub(crate) struct Capture {
    reader: Box<dyn PcapReaderIterator + Send>,
    interfaces: Vec<Interface>,
    packets: u64,
    packet: Vec<u8>,
}

/// An interface of a capture: the unit of its times, and the beginning of its packets.
#[derive(Clone, Copy)]
struct Interface {
    link: Linktype,
    /// The units of a second.
    resolution: u64,
    /// The seconds that are added to each time.
    offset: i64,
}

/// The next packet.
pub(crate) enum Packet {
    /// A packet that came at this time: [`Capture::datagram`].
    At(u64),
    /// A packet without a time.
    Timeless,
    /// The end of the file.
    End,
    /// The file cannot be read any further.
    Failed(String),
}

impl Capture {
    /// Begins to read a capture.
    ///
    /// # Errors
    /// Returns what is wrong with its head, in words.
    pub(crate) fn new(content: Content) -> Result<Self, String> {
        let reader = create_reader(BUFFER_BYTES, content).map_err(|error| words(&error))?;
        Ok(Self { reader, interfaces: Vec::new(), packets: 0, packet: Vec::new() })
    }

    /// Returns the number of the packet that was read last, from 1.
    pub(crate) fn packets(&self) -> u64 {
        self.packets
    }

    /// Reads the next packet.
    pub(crate) fn read(&mut self) -> Packet {
        let mut stalls = 0;
        loop {
            let step = match self.reader.next() {
                Ok((length, block)) => {
                    let packet = block_of(&block, &mut self.interfaces, &mut self.packet);
                    Ok((length, packet))
                }
                Err(PcapError::Eof) => return Packet::End,
                Err(PcapError::Incomplete(_)) => Err(()),
                Err(error) => {
                    self.packets += 1;
                    return Packet::Failed(words(&error));
                }
            };
            if let Ok((length, packet)) = step {
                self.reader.consume(length);
                stalls = 0;
                if let Some(packet) = packet {
                    self.packets += 1;
                    return packet;
                }
                continue;
            }
            let before = self.reader.data().len();
            if let Err(error) = self.reader.refill() {
                let reason = words(&error);
                self.packets += 1;
                return Packet::Failed(reason);
            }
            stalls += usize::from(self.reader.data().len() == before);
            if stalls > 2 {
                self.packets += 1;
                return Packet::Failed(words(&PcapError::<&[u8]>::UnexpectedEof));
            }
        }
    }

    /// Returns what the packet that was read last carries, where it is a datagram of UDP.
    pub(crate) fn datagram(&self) -> Option<&[u8]> {
        let (link, bytes) = self.packet.split_first_chunk::<4>()?;
        let sliced = match Linktype(i32::from_le_bytes(*link)) {
            Linktype::ETHERNET => LaxSlicedPacket::from_ethernet(bytes).ok()?,
            Linktype::RAW | Linktype::IPV4 => LaxSlicedPacket::from_ip(bytes).ok()?,
            _ => return None,
        };
        match sliced.transport {
            Some(TransportSlice::Udp(datagram)) => Some(datagram.payload()),
            _ => None,
        }
    }
}

/// Takes a block of the file; `None` where it is no packet. A packet is kept behind the type of its link.
fn block_of(
    block: &PcapBlockOwned<'_>,
    interfaces: &mut Vec<Interface>,
    packet: &mut Vec<u8>,
) -> Option<Packet> {
    let mut keep = |interface: &Interface, data: &[u8]| {
        packet.clear();
        packet.extend(interface.link.0.to_le_bytes());
        packet.extend(data);
    };
    match block {
        PcapBlockOwned::LegacyHeader(head) => {
            let resolution = if head.is_nanosecond_precision() { NANOS } else { 1_000_000 };
            interfaces.push(Interface { link: head.network, resolution, offset: 0 });
            None
        }
        PcapBlockOwned::Legacy(block) => {
            let interface = interfaces.first()?;
            keep(interface, block.data);
            let unit = NANOS / interface.resolution;
            Some(Packet::At(u64::from(block.ts_sec) * NANOS + u64::from(block.ts_usec) * unit))
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            None
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(block)) => {
            interfaces.push(Interface {
                link: block.linktype,
                resolution: block.ts_resolution().unwrap_or(1_000_000).max(1),
                offset: block.ts_offset(),
            });
            None
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(block)) => {
            let Some(interface) = interfaces.get(block.if_id as usize) else {
                packet.clear();
                return Some(Packet::Timeless);
            };
            keep(interface, block.data.get(..block.caplen as usize).unwrap_or(block.data));
            let units = u128::from(block.ts_high) << 32 | u128::from(block.ts_low);
            let nanos = units * u128::from(NANOS) / u128::from(interface.resolution);
            let time = i128::from(interface.offset) * i128::from(NANOS) + nanos as i128;
            Some(u64::try_from(time).map_or(Packet::Timeless, Packet::At))
        }
        PcapBlockOwned::NG(Block::SimplePacket(_)) => Some(Packet::Timeless),
        PcapBlockOwned::NG(_) => None,
    }
}

fn words<I>(error: &PcapError<I>) -> String {
    let words = match error {
        PcapError::Eof | PcapError::UnexpectedEof | PcapError::Incomplete(_) => {
            "the file ends within a packet"
        }
        PcapError::BufferTooSmall => {
            "a packet says that it is longer than any: the rest of the file is not read, because nobody knows where the next one begins"
        }
        PcapError::ReadError => "the file cannot be read or unpacked any further",
        PcapError::HeaderNotRecognized => "it does not begin as a capture does",
        PcapError::NomError(..) | PcapError::OwnedNomError(..) => {
            "a block contradicts itself: the rest of the file is not read"
        }
    };
    words.to_owned()
}
