//! All sessions by their ids, in the order in which they were opened.
//!
//! A map would take four times the memory: its nodes stay half empty where ids grow, and it would hold each id once more. Here are keys
//! alone, in parts that stay full, and who looks for one says which id each key has.

use super::key::SessionKey;

/// Most sessions of one part.
const PART_MAX: usize = 256;

/// Returns what ids are ordered by. Ids of one process differ by a number at their end, which grows: of two, the longer one is the
/// later.
fn order(id: &str) -> (usize, &str) {
    (id.len(), id)
}

/// The keys of all sessions, ordered by their ids; see the module.
#[derive(Debug, Default)]
pub(crate) struct ById {
    /// The keys in parts, of which none is empty.
    parts: Vec<Vec<SessionKey>>,
}

impl ById {
    /// Returns the place of the first session whose id is not before this one. A key without an id is that of a session that has just
    /// ended, and is looked for.
    fn find<'i>(&self, id: &str, id_of: &impl Fn(SessionKey) -> Option<&'i str>) -> (usize, usize) {
        let is_before = |key: &SessionKey| id_of(*key).is_some_and(|known| order(known) < order(id));
        let part = self.parts.partition_point(|part| part.last().is_some_and(is_before));
        (part, self.parts.get(part).map_or(0, |part| part.partition_point(is_before)))
    }

    /// Adds a session.
    pub(crate) fn insert<'i>(
        &mut self,
        key: SessionKey,
        id: &str,
        id_of: impl Fn(SessionKey) -> Option<&'i str>,
    ) {
        let (at_part, at) = self.find(id, &id_of);
        match self.parts.get_mut(at_part) {
            Some(part) => {
                part.insert(at, key);
                if part.len() > PART_MAX {
                    let rest = part.split_off(PART_MAX / 2);
                    self.parts.insert(at_part + 1, rest);
                }
            }
            // Ids grow, so this is the usual case.
            None => match self.parts.last_mut().filter(|part| part.len() < PART_MAX) {
                Some(part) => part.push(key),
                None => self.parts.push(vec![key]),
            },
        }
    }

    /// Forgets a session that had this id.
    pub(crate) fn remove<'i>(
        &mut self,
        key: SessionKey,
        id: &str,
        id_of: impl Fn(SessionKey) -> Option<&'i str>,
    ) {
        let (mut at_part, mut at) = self.find(id, &id_of);
        // Several may have the same id, though none of a gateway's own have.
        while let Some(part) = self.parts.get_mut(at_part) {
            match part[at..].iter().position(|known| *known == key) {
                Some(more) => {
                    part.remove(at + more);
                    self.join(at_part);
                    return;
                }
                None => (at_part, at) = (at_part + 1, 0),
            }
        }
    }

    /// Joins a part with the one behind it, where both are small.
    fn join(&mut self, at: usize) {
        let length = |at: usize| self.parts.get(at).map_or(PART_MAX, Vec::len);
        let first = if length(at) + length(at + 1) <= PART_MAX / 2 { at } else { at.saturating_sub(1) };
        if first + 1 < self.parts.len() && length(first) + length(first + 1) <= PART_MAX / 2 {
            let rest = self.parts.remove(first + 1);
            self.parts[first].extend(rest);
        }
        self.parts.retain(|part| !part.is_empty());
    }

    /// Returns a session with this id.
    pub(crate) fn get<'i>(
        &self,
        id: &str,
        id_of: impl Fn(SessionKey) -> Option<&'i str>,
    ) -> Option<SessionKey> {
        let (part, at) = self.find(id, &id_of);
        self.parts.get(part)?.get(at).copied().filter(|key| id_of(*key) == Some(id))
    }

    /// Returns the sessions that come after an id, in their order; all of them without one.
    pub(crate) fn after<'i>(
        &self,
        id: Option<&str>,
        id_of: impl Fn(SessionKey) -> Option<&'i str>,
    ) -> impl Iterator<Item = SessionKey> {
        let (part, at) = id.map_or((0, 0), |id| self.find(id, &id_of));
        let id = id.map(ToOwned::to_owned);
        let parts = self.parts.iter().skip(part).enumerate();
        let keys = parts.flat_map(move |(number, part)| &part[if number == 0 { at } else { 0 }..]).copied();
        keys.skip_while(move |key| id.is_some() && id_of(*key) == id.as_deref())
    }
}

#[cfg(test)]
#[path = "by_id_tests.rs"]
mod tests;
