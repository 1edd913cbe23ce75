//! The tokens that sessions hand in: they are verified beside the shards, because a signature takes time and a key may have to be
//! fetched.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tickwire_auth::Denied;
use tickwire_core::engine::HandedIn;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::gate::{Gate, Verdict};
use crate::shard::Order;

/// The most tokens that are verified at the same time: most of them wait for a key.
const AT_ONCE: usize = 64;

/// Everything that is needed to verify the tokens of all shards.
pub(crate) struct TokensSetup {
    pub(crate) gate: Arc<Gate>,
    /// A token, with the place of the shard that it came by.
    pub(crate) tokens: mpsc::Receiver<(usize, HandedIn)>,
    /// They are weak, so that shards can end.
    pub(crate) shards: Vec<mpsc::WeakSender<Order>>,
    pub(crate) stop: CancellationToken,
}

/// Verifies tokens until it is told to stop.
pub(crate) async fn run(setup: TokensSetup) {
    let TokensSetup { gate, mut tokens, shards, stop } = setup;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let (at, handed_in) = tokio::select! {
            () = stop.cancelled() => return,
            handed_in = tokens.recv() => match handed_in {
                Some(handed_in) => handed_in,
                None => return,
            },
        };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (gate, shard) = (Arc::clone(&gate), shards[at].clone());
        tokio::spawn(async move {
            let HandedIn { session, id, token } = handed_in;
            let admitted = gate.take(&token).await;
            match &admitted {
                Ok(_) => drop(gate.stats.renewed.fetch_add(1, Ordering::Relaxed)),
                Err(denied) => gate.note(denied, None),
            }
            let admitted = admitted.map_err(|denied: Denied| denied.refusal());
            if let Some(shard) = shard.upgrade() {
                let _ = shard.send(Order::Identify(Verdict { session, id, admitted })).await;
            }
            drop(place);
        });
    }
}
