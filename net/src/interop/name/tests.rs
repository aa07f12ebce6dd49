use std::net::{Ipv4Addr, SocketAddr};

use super::name_in;
use crate::resolve::Name;

#[test]
fn strings_and_pairs_are_names_whatever_their_lifetimes() {
    let owned = String::from("host:1");
    let local: &str = &owned;
    let pair = (local, 7_u16);
    let owned_pair = (owned.clone(), 7_u16);
    assert_eq!(name_in(&"host:1"), Some(Name::Joined("host:1")));
    assert_eq!(name_in(&local), Some(Name::Joined("host:1")));
    assert_eq!(name_in(&&local), Some(Name::Joined("host:1")));
    assert_eq!(name_in(&owned), Some(Name::Joined("host:1")));
    assert_eq!(name_in(&&owned), Some(Name::Joined("host:1")));
    assert_eq!(name_in(&pair), Some(Name::Pair("host:1", 7)));
    assert_eq!(name_in(&&pair), Some(Name::Pair("host:1", 7)));
    assert_eq!(name_in(&owned_pair), Some(Name::Pair("host:1", 7)));
    assert_eq!(name_in(&&owned_pair), Some(Name::Pair("host:1", 7)));
}

#[test]
fn addresses_and_other_types_are_no_names() {
    struct Own<'a>(&'a str);
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    assert_eq!(name_in(&addr), None);
    assert_eq!(name_in(&&addr), None);
    assert_eq!(name_in(&(Ipv4Addr::LOCALHOST, 1_u16)), None);
    assert_eq!(name_in(&&[addr][..]), None);
    let own = Own("host:1");
    assert_eq!(name_in(&own), None);
    assert_eq!(own.0, "host:1");
}
