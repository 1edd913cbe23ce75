//! A long way between two sockets of one machine: a TCP proxy that delays what passes, evenly or not, with a bottleneck
//! if wanted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// The payload of a packet on an Ethernet: how finely a bottleneck serves.
const PACKET_BYTES: usize = 1448;
/// The receive buffer of the proxy's sockets. The bytes that a kernel holds in front of the bottleneck should be few
/// beside the bottleneck's own buffer; much less than this makes loopback, with its packets of 64 KiB, stutter.
const RECEIVE_BYTES: u32 = 32 << 10;

/// The variation of the way towards the client, beside its delay. Nothing overtakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variation {
    /// There is no variation.
    None,
    /// The bytes that have come are let go each so often, all at once.
    Lumps(Duration),
    /// The bytes that were read at once come later by anything up to this.
    Jitter(Duration),
    /// The delay goes up to the first and down again within the second.
    Wave(Duration, Duration),
    /// One in so many packets comes later by so much, as one that had to be sent again, and so does what is behind it.
    Lossy(u32, Duration),
}

/// The way between the two ends.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// The delay from the server to the client.
    pub delay: Duration,
    /// The delay from the client to the server.
    pub back: Duration,
    /// The variation towards the client.
    pub variation: Variation,
    /// The rate of the bottleneck in each direction; `None`: there is none.
    pub bytes_per_second: Option<u64>,
    /// The bytes that wait at the bottleneck, at most; the sender is stopped then, as by a full send buffer. Without a
    /// bottleneck these are bytes on their way.
    pub buffer_bytes: usize,
    /// The age of a connection before which there is neither delay nor variation.
    pub begins: Duration,
}

impl Link {
    /// Makes a way as long as this round trip, and as wide as the machine is fast.
    pub fn round_trip(time: Duration) -> Self {
        Self {
            delay: time / 2,
            back: time / 2,
            variation: Variation::None,
            bytes_per_second: None,
            buffer_bytes: 4 << 20,
            begins: Duration::ZERO,
        }
    }

    /// Sets another delay back to the server.
    #[must_use]
    pub fn back(self, back: Duration) -> Self {
        Self { back, ..self }
    }

    /// Sets a variation of the way towards the client.
    #[must_use]
    pub fn varied(self, variation: Variation) -> Self {
        Self { variation, ..self }
    }

    /// Makes the way short and even before the connection is so old.
    #[must_use]
    pub fn after(self, begins: Duration) -> Self {
        Self { begins, ..self }
    }

    /// Sets a bottleneck on the way.
    #[must_use]
    pub fn limited(self, bytes_per_second: u64, buffer_bytes: usize) -> Self {
        Self { bytes_per_second: Some(bytes_per_second), buffer_bytes, ..self }
    }

    /// Returns how many bytes fit on the way at the same time.
    fn capacity_bytes(&self) -> usize {
        let delay = self.delay.max(self.back);
        let moving = self.bytes_per_second.map_or(0.0, |rate| rate as f64 * delay.as_secs_f64());
        self.buffer_bytes.max(PACKET_BYTES) + moving as usize
    }
}

/// A proxy on a free port of 127.0.0.1. Dropping it cuts all connections.
///
/// It hands on every byte, in order. It is a proxy, so each end has a TCP connection of its own: the ends see the delay
/// in what they say to each other, but not in the acknowledgements of their kernels.
#[derive(Debug)]
pub struct DelayProxy {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl DelayProxy {
    /// Starts a proxy in front of `target`.
    ///
    /// # Errors
    /// Returns an error when no port can be bound.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn start(target: SocketAddr, link: Link) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, target, link)).abort_handle();
        Ok(Self { address, accepting })
    }

    /// Returns where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for DelayProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, link: Link) {
    // The connections are aborted with this task.
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        connections.spawn(connect(near, target, link));
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(near: TcpStream, target: SocketAddr, link: Link) -> std::io::Result<()> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    let far = socket.connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    // One direction may end before the other.
    let up = Link { delay: link.back, variation: Variation::None, ..link };
    tokio::join!(carry(near_read, far_write, up), carry(far_read, near_write, link));
    Ok(())
}

/// The times at which things come through one direction.
struct Timing {
    link: Link,
    opened: Instant,
    random: u64,
}

impl Timing {
    fn new(link: Link) -> Self {
        Self { link, opened: Instant::now(), random: 0x9e37_79b9_7f4a_7c15 }
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Returns when that arrives which leaves the bottleneck then.
    fn arrival(&mut self, leaves: Instant) -> Instant {
        let age = leaves.saturating_duration_since(self.opened);
        if age < self.link.begins {
            return leaves;
        }
        let arrives = leaves + self.link.delay;
        match self.link.variation {
            Variation::None => arrives,
            Variation::Lumps(every) => {
                let since = arrives.saturating_duration_since(self.opened).as_nanos() as u64;
                self.opened + Duration::from_nanos((since + 1).next_multiple_of(every.as_nanos() as u64))
            }
            Variation::Jitter(most) => arrives + most.mul_f64((self.random() % 1_000) as f64 / 1e3),
            Variation::Wave(most, period) => {
                let at = age.as_secs_f64() / period.as_secs_f64() % 1.0;
                arrives + most.mul_f64(1.0 - (2.0 * at - 1.0).abs())
            }
            Variation::Lossy(one_in, again) => {
                let is_lost = self.random().is_multiple_of(u64::from(one_in));
                arrives + if is_lost { again } else { Duration::ZERO }
            }
        }
    }
}

struct Parcel {
    arrives: Instant,
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// Carries one direction until its end, and passes that on.
async fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, link: Link) {
    let capacity = link.capacity_bytes();
    let (parcels, parcelled) = mpsc::channel(capacity);
    tokio::join!(take(from, parcels, link, capacity), deliver(parcelled, to));
}

async fn take(mut from: OwnedReadHalf, parcels: mpsc::Sender<Parcel>, link: Link, capacity: usize) {
    let room = Arc::new(Semaphore::new(capacity));
    let read_bytes = link.bytes_per_second.map_or(16 << 10, |_| PACKET_BYTES).min(capacity);
    let mut bottleneck_free = Instant::now();
    let mut timing = Timing::new(link);
    loop {
        let Ok(mut room) = Arc::clone(&room).acquire_many_owned(read_bytes as u32).await else { return };
        let mut bytes = vec![0; read_bytes];
        let Ok(count @ 1..) = from.read(&mut bytes).await else { return };
        bytes.truncate(count);
        drop(room.split(read_bytes - count));
        let now = Instant::now();
        let service = link.bytes_per_second.map_or(0.0, |rate| count as f64 / rate as f64);
        bottleneck_free = bottleneck_free.max(now) + Duration::from_secs_f64(service);
        let parcel = Parcel { arrives: timing.arrival(bottleneck_free), bytes, _room: room };
        if parcels.send(parcel).await.is_err() {
            return;
        }
    }
}

async fn deliver(mut parcels: mpsc::Receiver<Parcel>, mut to: OwnedWriteHalf) {
    while let Some(parcel) = parcels.recv().await {
        tokio::time::sleep_until(parcel.arrives).await;
        if to.write_all(&parcel.bytes).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Starts a server that sends back what it gets, behind a link.
    async fn echo(link: Link) -> (DelayProxy, TcpStream) {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = DelayProxy::start(server.local_addr().unwrap(), link).await.unwrap();
        tokio::spawn(async move {
            let (stream, _) = server.accept().await.unwrap();
            let (mut read, mut write) = stream.into_split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        (proxy, stream)
    }

    /// Makes bytes that say where they belong.
    fn numbered(count: usize) -> Vec<u8> {
        (0..count as u32 / 4).flat_map(u32::to_le_bytes).collect()
    }

    #[track_caller]
    fn check_carries(link: Link, count: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (sent, came) = runtime.block_on(async {
            let (_proxy, stream) = echo(link).await;
            let sent = numbered(count);
            let (mut read, mut write) = stream.into_split();
            let bytes = sent.clone();
            let writing = tokio::spawn(async move {
                // The pieces are uneven, and the end of the stream is behind them.
                for piece in bytes.chunks(3_001) {
                    write.write_all(piece).await.unwrap();
                }
            });
            let mut came = Vec::new();
            read.read_to_end(&mut came).await.unwrap();
            writing.await.unwrap();
            (sent, came)
        });
        assert_eq!(came.len(), sent.len());
        assert!(came == sent, "bytes changed or changed places");
    }

    #[test]
    fn every_byte_arrives_in_order_and_then_the_end() {
        check_carries(Link::round_trip(Duration::ZERO), 4 << 20);
        check_carries(Link::round_trip(10 * MS), 4 << 20);
        check_carries(Link::round_trip(10 * MS).limited(1_000_000, 8 << 10), 300_000);
        check_carries(Link::round_trip(MS).limited(1_000_000, 1), 100_000);
    }

    #[tokio::test]
    async fn a_word_and_its_response_take_the_round_trip() {
        let round_trip = 40 * MS;
        let (_proxy, mut stream) = echo(Link::round_trip(round_trip)).await;
        let mut fastest = Duration::MAX;
        for _ in 0..10 {
            let at = Instant::now();
            stream.write_all(b"tick").await.unwrap();
            stream.read_exact(&mut [0; 4]).await.unwrap();
            assert!(at.elapsed() >= round_trip, "{:?} is too early", at.elapsed());
            fastest = fastest.min(at.elapsed());
        }
        assert!(fastest < round_trip + 20 * MS, "{fastest:?} is late, ten times over");
    }

    #[test]
    fn a_way_that_is_not_even_keeps_every_byte_in_order() {
        for variation in [
            Variation::Lumps(20 * MS),
            Variation::Jitter(10 * MS),
            Variation::Wave(10 * MS, 50 * MS),
            Variation::Lossy(10, 10 * MS),
        ] {
            check_carries(Link::round_trip(MS).varied(variation), 1 << 20);
        }
        check_carries(Link::round_trip(MS).varied(Variation::Jitter(5 * MS)).after(10 * MS), 1 << 20);
    }

    #[test]
    fn when_things_arrive() {
        let link = Link::round_trip(20 * MS);
        let at = |link: Link, ms: u32| {
            let mut timing = Timing::new(link);
            let leaves = timing.opened + ms * MS;
            timing.arrival(leaves) - leaves
        };
        assert_eq!(at(link, 5), 10 * MS);
        let lumps = link.varied(Variation::Lumps(100 * MS));
        assert_eq!((at(lumps, 5), at(lumps, 89), at(lumps, 95)), (95 * MS, 11 * MS, 105 * MS));
        let wave = link.varied(Variation::Wave(50 * MS, 200 * MS));
        assert_eq!((at(wave, 0), at(wave, 100)), (10 * MS, 60 * MS));
        let late = link.after(50 * MS);
        assert_eq!((at(late, 49), at(late, 50)), (Duration::ZERO, 10 * MS));
        let jitter = link.varied(Variation::Jitter(50 * MS));
        assert!((10 * MS..60 * MS).contains(&at(jitter, 7)));
    }

    #[tokio::test]
    async fn the_bottleneck_passes_its_rate_and_no_more() {
        let (rate, buffer) = (400_000, 16 << 10);
        let (_proxy, stream) = echo(Link::round_trip(20 * MS).limited(rate, buffer)).await;
        let (mut read, mut write) = stream.into_split();
        let count = 200_000;
        let writing = tokio::spawn(async move { write.write_all(&numbered(count)).await.unwrap() });
        let at = Instant::now();
        let mut first = [0; 1];
        read.read_exact(&mut first).await.unwrap();
        assert!(at.elapsed() >= 20 * MS);
        let first_at = Instant::now();
        read.read_exact(&mut vec![0; count - 1]).await.unwrap();
        let took = first_at.elapsed().as_secs_f64();
        let got = count as f64 / took;
        // The first packet leaves the bottleneck before the clock starts.
        assert!(got < rate as f64 * 1.03, "{got:.0} bytes/s");
        assert!(got > rate as f64 * 0.7, "{got:.0} bytes/s");
        writing.await.unwrap();
    }

    #[tokio::test]
    async fn who_does_not_read_stops_who_sends() {
        let (_proxy, mut stream) = echo(Link::round_trip(2 * MS).limited(50_000_000, 16 << 10)).await;
        let bytes = vec![0; 256 << 20];
        let sent = tokio::time::timeout(Duration::from_secs(2), stream.write_all(&bytes)).await;
        assert!(sent.is_err(), "256 MiB are held somewhere");
    }
}
