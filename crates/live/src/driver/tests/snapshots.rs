//! Snapshots and bans in virtual time.

use super::*;

#[test]
fn a_snapshot_is_given_up_with_the_connection_that_goes_on_from_it() {
    let mut world = World::granted(1);
    let [fetch] = &world.message(0, "wanted 0")[..] else { panic!("one request") };
    assert!(fetch.ends_with("snapshot 0"));
    let request = fetch.split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(world.closed(0), [format!("abandon {request}")]);
    world.respond(request, 200, "old");
    assert_eq!(world.driver.counts().unused_snapshots, 0, "it was not taken");
    let mut fetched = 0;
    world.wait_for(|world, output| {
        fetched += u64::from(output.contains("snapshot"));
        world.grant(output)
    });
    assert_eq!(fetched, 0, "nothing is asked for before the first change");
    assert!(world.message(0, "wanted 0")[0].ends_with("snapshot 0"));
}

#[test]
fn a_ban_is_waited_for() {
    let mut world = World::granted(3);
    let fetches = world.message(0, "wanted 0");
    let request: u64 = fetches[0].split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(world.respond(request, 429, ""), [""; 0]);
    let until = world.now + SECS(25);
    assert_eq!(world.message(0, "wanted 2"), [""; 0]);
    let mut fetched = Vec::new();
    while fetched.len() < 2 {
        let outputs = world.pass(SECS(1_000));
        let is_fetch = |output: &&String| output.starts_with("fetch");
        let count = outputs.iter().filter(is_fetch).count();
        fetched.extend((0..count).map(|_| world.now));
        for output in outputs {
            world.ponged(&output);
        }
    }
    assert!(fetched.iter().all(|at| *at >= until), "{fetched:?} before {until:?}");
    assert_eq!(world.driver.counts().bans, 1);
}

#[test]
fn a_request_that_takes_too_long_is_given_up_before_the_next_one() {
    let mut world = World::granted(1);
    let fetch = world.message(0, "wanted 0").concat();
    let request = fetch.split(' ').nth(1).unwrap().to_owned();
    let mut outputs = Vec::new();
    while outputs.len() < 2 && world.now < SECS(900) {
        outputs.extend(world.pass(SECS(900)));
        outputs.retain(|output| !world.ponged(output));
    }
    assert_eq!(outputs[0], format!("abandon {request}"));
    assert!(outputs[1].starts_with("fetch ") && outputs[1].ends_with("snapshot 0"), "{outputs:?}");
}

#[test]
fn a_shallow_book_is_asked_for_again_until_it_is_deep() {
    let mut world = World::granted(2);
    let fetch = world.message(0, "deeper 0").concat();
    assert!(fetch.ends_with("snapshot 0"), "{fetch}");
    assert_eq!(world.respond(fetch.split(' ').nth(1).unwrap().parse().unwrap(), 200, "old"), [""; 0]);
    let mut again = Vec::new();
    while again.is_empty() && world.now < SECS(900) {
        again = world.pass(SECS(900));
        again.retain(|output| !world.ponged(output));
    }
    assert!(again[0].ends_with("snapshot 0"), "{again:?}");
}
