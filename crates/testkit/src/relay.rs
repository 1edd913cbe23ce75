//! A way to a server that can be cut, kept cut, and led to another server.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A relay of connections to where it was last told to. It ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
}

impl Relay {
    /// Listens on a free port of 127.0.0.1 and relays to `target`.
    ///
    /// # Panics
    /// Panics when there is no free port.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (target, told) = watch::channel(Some(target));
        tokio::spawn(accept(listener, told));
        Self { address, target }
    }

    /// Returns where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections, and every new one at once.
    pub fn cut(&self) {
        self.target.send_replace(None);
    }

    /// Cuts all connections; new ones are led to `target`.
    pub fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }
}

async fn accept(listener: TcpListener, mut told: watch::Receiver<Option<SocketAddr>>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            changed = told.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok((stream, _)) = accepted else { return };
        let mut told = told.clone();
        let Some(target) = *told.borrow_and_update() else { continue };
        tokio::spawn(async move {
            tokio::select! {
                () = relay(stream, target) => {}
                _ = told.changed() => {}
            }
        });
    }
}

async fn relay(mut client: TcpStream, target: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(target).await {
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
