use super::without_sign_in;

#[test]
fn an_address_is_shown_without_its_password() {
    assert_eq!(without_sign_in("nats://me:secret@host:4222"), "nats://host:4222");
    assert_eq!(without_sign_in("host:4222"), "nats://host:4222");
}
