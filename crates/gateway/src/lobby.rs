//! Connections that are no sessions: those that have not asked yet, and those that were answered and stay.
//!
//! None of them holds its place against others. Each has to complete a request within a time, counted from when it came or
//! from its last response; when all places are taken, the one that has waited longest without a request goes, and of those
//! that were answered the one that was so first. Those that were answered have a quarter of the places at most.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Of the places, one in so many may be taken by connections that were answered.
const KEPT_ONE_IN: usize = 4;

/// See the module.
#[derive(Debug)]
pub(crate) struct Lobby {
    places: Arc<Semaphore>,
    guests: Mutex<Guests>,
    kept_max: usize,
    /// For one request.
    patience: Duration,
    /// How many had to go for others.
    pub(crate) evicted: AtomicU64,
}

#[derive(Debug, Default)]
struct Guests {
    next: u64,
    /// In order of arrival; they have not asked for anything yet.
    silent: BTreeMap<u64, CancellationToken>,
    /// In order of their last response.
    kept: BTreeMap<u64, CancellationToken>,
}

/// A connection in the lobby; it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    lobby: Arc<Lobby>,
    state: Mutex<State>,
    goes: CancellationToken,
    _place: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug)]
struct State {
    number: u64,
    until: Instant,
}

impl Lobby {
    pub(crate) fn new(places: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(places)),
            guests: Mutex::default(),
            kept_max: (places / KEPT_ONE_IN).max(1),
            patience,
            evicted: AtomicU64::new(0),
        })
    }

    /// Lets a connection in; where all places are taken, as soon as another one has gone for it.
    ///
    /// # Cancel safety
    /// At most, somebody has gone in vain.
    pub(crate) async fn admit(self: &Arc<Self>) -> Option<Guest> {
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                self.make_room();
                Arc::clone(&self.places).acquire_owned().await.ok()?
            }
        };
        let goes = CancellationToken::new();
        let mut guests = self.guests();
        let number = guests.number();
        guests.silent.insert(number, goes.clone());
        drop(guests);
        let state = State { number, until: Instant::now() + self.patience };
        Some(Guest { lobby: Arc::clone(self), state: Mutex::new(state), goes, _place: place })
    }

    fn make_room(&self) {
        let mut guests = self.guests();
        let oldest = guests.silent.pop_first().or_else(|| guests.kept.pop_first());
        drop(guests);
        self.dismiss(oldest);
    }

    fn dismiss(&self, guest: Option<(u64, CancellationToken)>) {
        if let Some((_, goes)) = guest {
            self.evicted.fetch_add(1, Ordering::Relaxed);
            goes.cancel();
        }
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guests {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Guest {
    /// It sent a whole request: it may stay for another one.
    pub(crate) fn asked(&self) {
        let mut state = self.state();
        let mut guests = self.lobby.guests();
        let known = guests.silent.remove(&state.number).or_else(|| guests.kept.remove(&state.number));
        // One that has to go already stays so.
        let Some(goes) = known else { return };
        *state = State { number: guests.number(), until: Instant::now() + self.lobby.patience };
        guests.kept.insert(state.number, goes);
        let is_over = guests.kept.len() > self.lobby.kept_max;
        let oldest = if is_over { guests.kept.pop_first() } else { None };
        drop(guests);
        self.lobby.dismiss(oldest);
    }

    /// Waits until the connection has to go, and says why.
    ///
    /// # Cancel safety
    /// It takes nothing.
    pub(crate) async fn over(&self) -> &'static str {
        loop {
            let until = self.state().until;
            tokio::select! {
                () = self.goes.cancelled() => return "it had to go for newer ones",
                () = tokio::time::sleep_until(until) => {}
            }
            if self.state().until <= Instant::now() {
                return "it sent no whole request in time";
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let number = self.state().number;
        let mut guests = self.lobby.guests();
        guests.silent.remove(&number);
        guests.kept.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn gone(guest: &Guest) -> bool {
        guest.goes.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_silent_one_goes_first_then_the_one_that_was_answered_first() {
        let lobby = Lobby::new(8, PATIENCE);
        let mut guests = Vec::new();
        for _ in 0..8 {
            guests.push(lobby.admit().await);
        }
        for answered in [5, 2] {
            guests[answered].as_ref().unwrap().asked();
        }
        for expected in [0, 1, 3, 4, 6, 7, 5, 2] {
            let coming = lobby.admit();
            tokio::pin!(coming);
            assert!(futures_util::poll!(&mut coming).is_pending());
            let goes = |guest: &Option<Guest>| guest.as_ref().is_some_and(gone);
            assert_eq!(guests.iter().position(goes), Some(expected));
            // Only when it has gone is there a place, here for one that never has to go.
            guests[expected] = None;
            let newcomer = coming.await.unwrap();
            let number = newcomer.state().number;
            lobby.guests().silent.remove(&number);
            guests.push(Some(newcomer));
        }
        assert_eq!(lobby.evicted.load(Ordering::Relaxed), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_has_to_be_whole_in_time_however_slowly_it_comes() {
        let lobby = Lobby::new(4, PATIENCE);
        let guest = lobby.admit().await.unwrap();
        let came = Instant::now();
        guest.over().await;
        assert_eq!(came.elapsed().as_secs(), 5);
        let guest = lobby.admit().await.unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        guest.asked();
        let answered = Instant::now();
        guest.over().await;
        assert_eq!(answered.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_were_answered_take_a_quarter_of_the_places() {
        let lobby = Lobby::new(8, PATIENCE);
        let mut guests = Vec::new();
        for _ in 0..4 {
            guests.push(lobby.admit().await.unwrap());
            guests.last().unwrap().asked();
        }
        assert_eq!(guests.iter().map(gone).collect::<Vec<_>>(), [true, true, false, false]);
        // One that asks again is the last to go.
        guests[2].asked();
        guests.push(lobby.admit().await.unwrap());
        guests[4].asked();
        assert_eq!(guests.iter().map(gone).collect::<Vec<_>>(), [true, true, false, true, false]);
    }
}
