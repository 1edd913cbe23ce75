//! The sessions of each user, counted for those whose rights limit them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::denied::Denied;

/// The counts of sessions by user. Users without a limit are not counted.
#[derive(Clone, Debug, Default)]
pub struct Users(Arc<Mutex<HashMap<String, u32>>>);

/// The place of one session among those of its user. Dropping it gives the place back.
#[derive(Debug)]
pub struct Seat {
    users: Users,
    name: String,
}

impl Users {
    /// Takes a place for one more session of this user.
    ///
    /// # Errors
    /// When there are as many as it may have.
    pub fn sit(&self, name: &str, max: u32) -> Result<Seat, Denied> {
        let mut counts = self.counts();
        let count = counts.entry(name.to_owned()).or_default();
        if *count >= max {
            return Err(Denied::Sessions { max });
        }
        *count += 1;
        Ok(Seat { users: self.clone(), name: name.to_owned() })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.users.counts();
        if let Some(count) = counts.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_its_own_places_and_gets_them_back() {
        let users = Users::default();
        let first = users.sit("a", 2).unwrap();
        let _second = users.sit("a", 2).unwrap();
        assert_eq!(users.sit("a", 2).unwrap_err(), Denied::Sessions { max: 2 });
        let other = users.sit("b", 1).unwrap();
        drop(first);
        let _third = users.sit("a", 2).unwrap();
        drop(other);
        assert_eq!(users.counts().len(), 1, "a user without sessions is forgotten");
    }
}
