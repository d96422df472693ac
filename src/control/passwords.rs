//! Passwords: hashed and compared with Argon2id, a few at a time and away from the threads that serve requests.
//!
//! A comparison with nobody's password takes as long as one with somebody's.

use super::error::ApiError;
use crate::store::users::PasswordHash;
use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How many are computed at a time: each takes 19 MiB and some 30 ms of a processor.
const AT_ONCE_MAX: usize = 2;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the password of somebody who has none is compared with: made with the same parameters, and nobody's.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c2hpcGdhdGUtbm9ib2R5$bm9ib2R5IGhhcyB0aGlzIHBhc3N3b3JkLCBub3Qgb25lIQ";

pub(super) struct Passwords {
    places: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }

    /// What to keep of a password.
    pub(super) async fn hash(&self, password: String) -> Result<PasswordHash, ApiError> {
        let hashed = self.compute(move || Argon2::default().hash_password(password.as_bytes())).await?;
        hashed.map(|hash| PasswordHash(hash.to_string())).map_err(|_| ApiError::Crashed)
    }

    /// Whether it is the password of this hash. It is never that of `None`.
    pub(super) async fn verify(
        &self,
        password: String,
        hash: Option<PasswordHash>,
    ) -> Result<bool, ApiError> {
        self.compute(move || {
            let known = hash.is_some();
            let text = hash.map_or_else(|| NOBODYS.to_owned(), |hash| hash.0);
            phc::PasswordHash::new(&text)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
                && known
        })
        .await
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let place: OwnedSemaphorePermit =
            match timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await {
                Ok(Ok(place)) => place,
                _ => return Err(ApiError::Busy),
            };
        let done = tokio::task::spawn_blocking(move || {
            // Held until it is done, whether somebody still waits or not.
            let _place = place;
            work()
        });
        done.await.map_err(|_| ApiError::Crashed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse battery".to_owned()).await.unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.0);
        assert!(passwords.verify("correct horse battery".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("correct horse batterz".to_owned(), Some(hash.clone())).await.unwrap());
        let again = passwords.hash("correct horse battery".to_owned()).await.unwrap();
        assert_ne!(hash, again, "each has a salt of its own");
        assert!(!format!("{hash:?}").contains("argon2"));
    }

    #[tokio::test]
    async fn nobody_costs_what_somebody_costs_and_is_never_let_in() {
        let passwords = Passwords::new();
        let made = passwords.hash("correct horse battery".to_owned()).await.unwrap();
        let parameters = |text: &str| text.rsplitn(3, '$').nth(2).map(str::to_owned);
        assert_eq!(parameters(NOBODYS), parameters(&made.0));
        assert!(phc::PasswordHash::new(NOBODYS).is_ok(), "or it would be found wrong without being computed");
        assert!(!passwords.verify("correct horse battery".to_owned(), None).await.unwrap());
    }
}
