//! Ports for servers that are stopped and started again.
//!
//! They are not those that systems deal out to connections (from 32768 on): while a server is
//! down, any connection of another test could get its port, and the server could not come back.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;

const FIRST: u16 = 15_000;
const LAST: u16 = 32_000;

/// The first of `count` ports in a row on which nothing listens. Each call begins to look at
/// another place, so that processes that look at once rarely find the same.
pub(crate) fn free(count: u16) -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut chance = RandomState::new().hash_one(std::process::id());
    loop {
        let port = FIRST + (chance % u64::from((LAST - FIRST) / count)) as u16 * count;
        if (port..port + count).all(is_free) {
            return port;
        }
        chance = RandomState::new().hash_one(chance);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_listens_on_them_and_they_lie_below_those_of_connections() {
        let first = super::free(4);
        assert!((super::FIRST..=super::LAST - 4).contains(&first));
        let taken = (first..first + 4).map(|port| std::net::TcpListener::bind(("127.0.0.1", port)));
        assert!(taken.collect::<Result<Vec<_>, _>>().is_ok());
    }
}
