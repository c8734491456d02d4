//! Passwords: what they are held against, and whether one is right.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as B64;
use zeroize::Zeroizing;

/// Memory in KiB, passes, lanes: what OWASP gives as the least for Argon2id with so little memory.
const COST: (u32, u32, u32) = (7 * 1024, 5, 1);
const SALT: usize = 16;
const HASH: usize = 32;

/// Random bytes that go into a hash.
pub type Salt = [u8; SALT];

/// Takes some ten milliseconds, and a few MiB. `None` if the machine has not got those.
///
/// `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`, as the reference implementation writes it.
pub fn hash_password(password: &str, salt: &Salt) -> Option<String> {
    let (memory, passes, lanes) = COST;
    let hash = derive(password, salt, COST)?;
    let (salt, hash) = (B64.encode(salt), B64.encode(hash.as_slice()));
    Some(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}"))
}

/// Whether it is the password that `hash` was made of; takes as long as making one. What is no
/// hash is no password's.
pub fn is_password(password: &str, hash: &str) -> bool {
    let Some((salt, hash, cost)) = parse(hash) else { return false };
    let derived = derive(password, &salt, cost);
    derived.is_some_and(|derived| verify_slices_are_equal(derived.as_slice(), &hash).is_ok())
}

/// A hash that no password has: who asks for a user that does not exist waits as long.
pub fn nobodys_hash() -> String {
    let (memory, passes, lanes) = COST;
    let (salt, hash) = (B64.encode([0; SALT]), B64.encode([0; HASH]));
    format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}")
}

fn derive(password: &str, salt: &[u8], cost: (u32, u32, u32)) -> Option<Zeroizing<[u8; HASH]>> {
    let params = Params::new(cost.0, cost.1, cost.2, Some(HASH)).ok()?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = Zeroizing::new([0; HASH]);
    argon.hash_password_into(password.as_bytes(), salt, hash.as_mut_slice()).ok()?;
    Some(hash)
}

type Parsed = (Vec<u8>, Vec<u8>, (u32, u32, u32));

fn parse(hash: &str) -> Option<Parsed> {
    let mut parts = hash.strip_prefix("$argon2id$v=19$")?.split('$');
    let (cost, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let mut numbers = cost.split(',').zip(["m=", "t=", "p="]).map(|(number, name)| {
        let number: u32 = number.strip_prefix(name)?.parse().ok()?;
        Some(number)
    });
    let cost = (numbers.next()??, numbers.next()??, numbers.next()??);
    let hash = B64.decode(hash).ok().filter(|hash| hash.len() == HASH)?;
    Some((B64.decode(salt).ok()?, hash, cost))
}
