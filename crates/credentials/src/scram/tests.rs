//! The exchange as a whole, with the example of RFC 7677 and with a client of our own that follows RFC 5802.

use super::*;
use crate::file::PasswordFile;
use aws_lc_rs::pbkdf2;
use std::num::NonZeroU32;

/// RFC 7677 section 3.
const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const OURS: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &[u8] = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn users_of_the_rfc() -> Users {
    let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let verifier = Verifier::with_salt("pencil", 4096, salt);
    Users::of_one("user", verifier)
}

#[test]
fn the_example_of_rfc_7677() {
    let (challenged, answer) = ScramExchange::challenge(&users_of_the_rfc(), CLIENT_FIRST, OURS).unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), SERVER_FIRST);
    let (verified, answer) = challenged.check(CLIENT_FINAL).unwrap();
    assert_eq!((&*verified.user, &*answer), ("user", SERVER_FINAL));
}

fn users() -> Arc<Users> {
    let mut file = PasswordFile::default();
    file.set("ann", "right", crate::argon2id::tests::CHEAP, 4096).unwrap();
    Arc::new(file.users())
}

/// What a client answers to a challenge.
fn answer(first_bare: &str, challenge: &str, header: &str, password: &str) -> String {
    let part = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name)).unwrap();
    let salt = BASE64.decode(part("s=").as_bytes()).unwrap();
    let (count, mut salted) = (part("i=").parse::<NonZeroU32>().unwrap(), Hash::default());
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, count, &salt, password.as_bytes(), &mut salted);
    let client_key = hmac_sha256(&salted, b"Client Key");
    let without_proof = format!("c={},r={}", BASE64.encode(header.as_bytes()), part("r="));
    let signed = format!("{first_bare},{challenge},{without_proof}");
    let signature = hmac_sha256(&sha256(&client_key), signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, sign)| key ^ sign).collect();
    format!("{without_proof},p={}", BASE64.encode(&proof))
}

/// A whole exchange; what it ends with.
fn exchange(user: &str, password: &str, change: impl Fn(String) -> String) -> Step {
    let mut exchange = ScramExchange::new(users());
    let bare = format!("n={user},r=abcdef");
    let Step::Challenge(challenge) = exchange.handle(format!("y,,{bare}").as_bytes()) else { panic!() };
    let challenge = String::from_utf8(challenge).unwrap();
    assert!(challenge.starts_with("r=abcdef") && challenge.len() > 60, "{challenge}");
    let step = exchange.handle(change(answer(&bare, &challenge, "y,,", password)).as_bytes());
    assert_eq!(exchange.handle(b"more"), Step::Denied(Denial::MalformedExchange), "it is over");
    step
}

#[test]
fn only_the_right_password_of_a_user_that_exists_is_right() {
    let Step::Verified(verified, last) = exchange("ann", "right", |text| text) else { panic!() };
    assert!(&*verified.user == "ann" && last.starts_with(b"v="));
    for (user, password) in [("ann", "wrong"), ("ann", ""), ("bob", "right")] {
        assert_eq!(exchange(user, password, |text| text), Step::Denied(Denial::BadCredentials), "{user}");
    }
}

/// RFC 5802 section 5.1: the answer keeps to the nonce and to the header.
#[test]
fn an_answer_to_another_challenge_is_refused() {
    let changes: [fn(String) -> String; 4] = [
        |text| text.replace("r=abcdef", "r=abcdeg"),
        |text| text.replace(&BASE64.encode(b"y,,"), &BASE64.encode(b"n,,")),
        |_| String::new(),
        |text| text.trim_end_matches("=").to_owned(),
    ];
    for change in changes {
        assert_eq!(exchange("ann", "right", change), Step::Denied(Denial::MalformedExchange));
    }
}

/// Each exchange has a challenge of its own, so that no answer can be used again.
#[test]
fn challenges_differ() {
    let users = users();
    let mut challenges: Vec<Step> =
        (0..2).map(|_| ScramExchange::new(users.clone()).handle(b"n,,n=ann,r=abc")).collect();
    assert_ne!(challenges.pop(), challenges.pop());
}
