//! The login: a password in the open, by MD5, or by SCRAM-SHA-256 (RFC 5802, RFC 7677), where the
//! password never leaves this machine and the server proves that it knows it too.

use std::num::NonZeroU32;

use md5::{Digest, Md5};
use ring::rand::SecureRandom;
use ring::{digest, hmac, pbkdf2, rand};

use super::error::{WireError, WireResult as Result};
use crate::base64::{base64, from_base64};

/// The mechanism that is spoken.
pub(super) const SCRAM: &str = "SCRAM-SHA-256";
/// Rounds of hashing that a server may ask for; PostgreSQL asks for 4,096 unless told otherwise.
const ROUNDS_MAX: u32 = 10_000_000;
/// That no channel is bound, in the words of SCRAM.
const NO_BINDING: &str = "n,,";

/// The answer to a question for an MD5 password.
pub(super) fn md5_password(user: &str, password: &str, salt: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let inner = hex(&Md5::new().chain_update(password).chain_update(user).finalize());
    format!("md5{}", hex(&Md5::new().chain_update(inner).chain_update(salt).finalize()))
}

/// A login by SCRAM, up to the server's first message.
pub(super) struct Scram {
    nonce: String,
    password: String,
}

/// A login by SCRAM whose proof was sent.
pub(super) struct Proved {
    signature: Vec<u8>,
}

impl Scram {
    /// Begins one.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub(super) fn new(password: &str) -> Result<Self> {
        let mut nonce = [0; 18];
        rand::SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| WireError::Login("the machine gives no random numbers".into()))?;
        Ok(Self::with(password, base64(&nonce)))
    }

    fn with(password: &str, nonce: String) -> Self {
        // A password that SASLprep refuses is used as it is, as the server does.
        let prepared = stringprep::saslprep(password);
        let password = prepared.map_or_else(|_| password.to_string(), String::from);
        Self { nonce, password }
    }

    /// The first message to the server.
    pub(super) fn first(&self) -> String {
        format!("{NO_BINDING}{}", self.bare())
    }

    fn bare(&self) -> String {
        // The server takes the user from the startup message.
        format!("n=,r={}", self.nonce)
    }

    /// The answer to the server's first message.
    ///
    /// # Errors
    /// A message that isn't one, or that is not an answer to ours.
    pub(super) fn prove(self, server_first: &[u8]) -> Result<(String, Proved)> {
        let wrong = |what: &str| WireError::Login(format!("the server's SCRAM message has {what}"));
        let text = std::str::from_utf8(server_first).map_err(|_| wrong("no text"))?;
        let field = |name: &str| text.split(',').find_map(|field| field.strip_prefix(name));
        let nonce = field("r=").filter(|nonce| nonce.starts_with(&self.nonce));
        let nonce = nonce.ok_or_else(|| wrong("another nonce"))?;
        let salt = field("s=").and_then(from_base64).ok_or_else(|| wrong("no salt"))?;
        let rounds = field("i=").and_then(|rounds| rounds.parse::<NonZeroU32>().ok());
        let rounds = rounds.filter(|rounds| rounds.get() <= ROUNDS_MAX);
        let rounds = rounds.ok_or_else(|| wrong("an unusual number of rounds"))?;

        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        let password = self.password.as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password, &mut salted);
        let key = |name: &str| hmac::sign(&hmac_key(&salted), name.as_bytes());
        let (client, server) = (key("Client Key"), key("Server Key"));
        let stored = digest::digest(&digest::SHA256, client.as_ref());
        let without_proof = format!("c={},r={nonce}", base64(NO_BINDING.as_bytes()));
        let signed = format!("{},{text},{without_proof}", self.bare());
        let signature = hmac::sign(&hmac_key(stored.as_ref()), signed.as_bytes());
        let proof = client.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b);
        let proof = base64(&proof.collect::<Vec<_>>());
        let expected = hmac::sign(&hmac_key(server.as_ref()), signed.as_bytes());
        let proved = Proved { signature: expected.as_ref().to_vec() };
        Ok((format!("{without_proof},p={proof}"), proved))
    }
}

impl Proved {
    /// Checks that the server knows the password too.
    ///
    /// # Errors
    /// When it doesn't.
    pub(super) fn check(&self, server_final: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(server_final).unwrap_or_default();
        let given = text.split(',').find_map(|field| field.strip_prefix("v="));
        match given.and_then(from_base64).is_some_and(|given| given == self.signature) {
            true => Ok(()),
            false => Err(WireError::Login(
                "the server could not prove that it knows the password; it may be another server"
                    .into(),
            )),
        }
    }
}

fn hmac_key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_repeats_the_nonce_and_the_server_is_checked() {
        let nonce = "rOprNGfwEbeRWgbNEkqO".to_string();
        let scram = Scram::with("pencil", nonce);
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                      s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (answer, proved) = scram.prove(server.as_bytes()).expect("a proof");
        assert!(
            answer.starts_with("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=")
        );
        assert!(proved.check(b"v=AAAA").is_err());
        let right = format!("v={}", base64(&proved.signature));
        assert!(proved.check(right.as_bytes()).is_ok());
    }

    #[test]
    fn messages_of_another_login_are_refused() {
        for server in [
            "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=mine1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
            "r=mine1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=999999999",
            "r=mine1,s=***,i=4096",
            "r=mine1,i=4096",
            "",
        ] {
            let scram = Scram::with("pencil", "mine".into());
            assert!(scram.prove(server.as_bytes()).is_err(), "{server}");
        }
    }

    #[test]
    fn md5_is_as_the_server_computes_it() {
        // md5('md5' of 'secretme' with the salt 01020304), by Python's hashlib.
        assert_eq!(
            md5_password("me", "secret", &[1, 2, 3, 4]),
            "md58322d584bf59f0253d58346307bb6ba3"
        );
    }
}
