use proptest::prelude::*;
use slotmap::SlotMap;

use super::*;

/// Sessions with their ids, and the list under test.
#[derive(Default)]
struct World {
    ids: SlotMap<SessionKey, String>,
    by_id: ById,
}

impl World {
    fn open(&mut self, id: String) -> SessionKey {
        let key = self.ids.insert(id);
        let ids = &self.ids;
        self.by_id.insert(key, &ids[key], |key| ids.get(key).map(String::as_str));
        key
    }

    fn end(&mut self, key: SessionKey) {
        let id = self.ids.remove(key).unwrap();
        let ids = &self.ids;
        self.by_id.remove(key, &id, |key| ids.get(key).map(String::as_str));
    }

    fn get(&self, id: &str) -> Option<SessionKey> {
        self.by_id.get(id, |key| self.ids.get(key).map(String::as_str))
    }

    fn after(&self, id: Option<&str>) -> Vec<&str> {
        let keys = self.by_id.after(id, |key| self.ids.get(key).map(String::as_str));
        keys.map(|key| self.ids[key].as_str()).collect()
    }

    fn sorted(&self) -> Vec<&str> {
        let mut sorted: Vec<_> = self.ids.values().map(String::as_str).collect();
        sorted.sort_by_key(|id| order(id));
        sorted
    }
}

#[test]
fn later_sessions_come_later_and_take_little_memory() {
    let mut world = World::default();
    let keys: Vec<_> = (0..5_000).map(|number| world.open(format!("s-{number}"))).collect();
    assert_eq!(world.after(None), world.sorted());
    assert_eq!(world.by_id.parts.len(), 5_000_usize.div_ceil(PART_MAX), "parts are full where ids grow");
    assert_eq!(world.after(Some("s-4997")), ["s-4998", "s-4999"]);
    // Where most have ended, what is left stands together.
    for key in keys.iter().enumerate().filter(|(at, _)| at % 50 != 0).map(|(_, key)| *key) {
        world.end(key);
    }
    assert_eq!(world.after(None), world.sorted());
    assert!(world.by_id.parts.len() <= 4, "{} parts for 100 sessions", world.by_id.parts.len());
    keys.iter().step_by(50).for_each(|key| world.end(*key));
    assert!(world.by_id.parts.is_empty());
}

#[test]
fn sessions_of_the_same_id_are_told_apart_by_their_keys() {
    let mut world = World::default();
    let keys: Vec<_> = (0..600).map(|_| world.open("same".to_owned())).collect();
    world.open("t".to_owned());
    for key in &keys {
        assert!(world.get("same").is_some());
        world.end(*key);
    }
    assert_eq!((world.get("same"), world.after(None)), (None, vec!["t"]));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn it_is_a_sorted_list_of_those_who_are_there(steps in prop::collection::vec((0_u32..3, 0_u32..400), 0..1_500)) {
        let mut world = World::default();
        let mut next = 0;
        for (what, number) in steps {
            let any = format!("s-{number}");
            match what {
                // Most ids grow, some do not.
                0 => {
                    next += 1;
                    let id = if number % 8 == 0 { any } else { format!("s-{next}") };
                    if world.get(&id).is_none() {
                        world.open(id);
                    }
                }
                1 => {
                    if let Some(key) = world.get(&any) {
                        world.end(key);
                        prop_assert_eq!(world.get(&any), None);
                    }
                }
                _ => {
                    let sorted = world.sorted();
                    let later: Vec<_> = sorted.iter().copied().filter(|id| order(id) > order(&any)).collect();
                    prop_assert_eq!(world.after(Some(&any)), later);
                    prop_assert_eq!(world.get(&any).is_some(), sorted.contains(&any.as_str()));
                }
            }
        }
        prop_assert_eq!(world.after(None), world.sorted());
        prop_assert!(world.by_id.parts.iter().all(|part| (1..=PART_MAX).contains(&part.len())));
    }
}
