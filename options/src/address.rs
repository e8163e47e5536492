//! Addresses for messages: without the credentials in them.

use crate::HIDDEN;

/// A value of an option without the credentials in the addresses that it has, for messages: what
/// stands before the `@` of `scheme://user:password@host`, and of `user:password@host` in a list.
pub fn without_credentials(value: &str) -> String {
    let mut shown = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(start) = rest.find("://").map(|found| found + 3) {
        let (before, address) = rest.split_at(start);
        shown.push_str(before);
        let end = address.find(['/', '?', '#', ',', ' ']).unwrap_or(address.len());
        let (host, after) = address.split_at(end);
        match host.rfind('@') {
            Some(at) => {
                shown.push_str(HIDDEN);
                shown.push_str(host.get(at..).unwrap_or_default());
            }
            None => shown.push_str(host),
        }
        rest = after;
    }
    shown += rest;
    let servers = shown.split(',').map(|server| match server.rsplit_once('@') {
        Some((user, host)) if user.contains(':') && !server.contains(['/', ' ']) => {
            format!("{HIDDEN}@{host}")
        }
        _ => server.to_string(),
    });
    servers.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_addresses_are_not_shown() {
        for (address, shown) in [
            ("s3://AK:SECRET@bucket/a/b", "s3://***@bucket/a/b"),
            ("s3://bucket/a@b", "s3://bucket/a@b"),
            ("s3://AK:SE@CRET@bucket", "s3://***@bucket"),
            ("out/me@home", "out/me@home"),
            ("me:SECRET@a:9092,b:9092", "***@a:9092,b:9092"),
            ("a:1,http://u:p@b/x@y", "a:1,http://***@b/x@y"),
            ("me@home, at 9:00", "me@home, at 9:00"),
        ] {
            assert_eq!(without_credentials(address), shown);
        }
    }
}
