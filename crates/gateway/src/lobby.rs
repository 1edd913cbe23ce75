//! Connections that are not sessions. Some have sent no request yet; others got a response and stay for another request.
//!
//! None of them keeps its place for ever. Each has to complete a request within a limited time, which begins when it connects
//! and again with each response. When all places are taken and one more comes, a connection is closed for it: the oldest of
//! those that have sent no request, or, if there is none, the one whose last response is the oldest. Connections that got a
//! response have a quarter of the places at most.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// One in this many places may be taken by connections that got a response.
const KEPT_ONE_IN: usize = 4;

/// The places for connections that are not sessions; see the module.
#[derive(Debug)]
pub(crate) struct Lobby {
    places: Arc<Semaphore>,
    guests: Mutex<Guests>,
    kept_max: usize,
    /// The time that a connection has to complete a request.
    patience: Duration,
    /// The number of connections that were closed to make room for others.
    pub(crate) evicted: AtomicU64,
}

#[derive(Debug, Default)]
struct Guests {
    next: u64,
    /// The connections that have sent no request yet, in order of arrival.
    silent: BTreeMap<u64, CancellationToken>,
    /// The connections that got a response, in order of their last one.
    kept: BTreeMap<u64, CancellationToken>,
}

/// The place of one connection. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Guest {
    lobby: Arc<Lobby>,
    state: Mutex<State>,
    goes: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// The reason why a connection has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// It had to go for newer ones.
    Evicted,
    /// It sent no whole request in time.
    Late,
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

    /// Gives a connection a place. Where all places are taken, it closes another connection and waits until that has gone.
    ///
    /// # Cancel safety
    /// At most, another connection was closed in vain.
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
    /// Notes that the connection sent a whole request, so it may stay for another one.
    pub(crate) fn asked(&self) {
        let mut state = self.state();
        let mut guests = self.lobby.guests();
        let known = guests.silent.remove(&state.number).or_else(|| guests.kept.remove(&state.number));
        // Where it is not known any more, it was told to go already, and that stays so.
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
    /// Nothing is lost: it only waits.
    pub(crate) async fn over(&self) -> Over {
        loop {
            let until = self.state().until;
            tokio::select! {
                () = self.goes.cancelled() => return Over::Evicted,
                () = tokio::time::sleep_until(until) => {}
            }
            if self.state().until <= Instant::now() {
                return Over::Late;
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
