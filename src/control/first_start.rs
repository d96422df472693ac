//! The first start: an empty store gets its main account, so that somebody can sign in at all.

use crate::domain::account::{AccountId, Retention};
use crate::domain::plan::Plan;
use crate::domain::token::{ApiToken, LinkToken, SessionToken, SharedToken, ShippingToken};
use crate::store::accounts::{AccountSettings, FirstSecrets};
use crate::store::{By, Store, StoreError};

/// What an account keeps unless somebody says otherwise, in days.
pub(super) const RETENTION_DAYS_DEFAULT: u32 = 7;

/// What the first account is to be.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    pub account_name: String,
    pub plan: Plan,
    /// `None`: a random one.
    pub api_token: Option<ApiToken>,
    /// `None`: a random one.
    pub shipping_token: Option<ShippingToken>,
}

/// The first account, and its secrets to be shown once.
#[derive(Debug, Clone)]
pub struct FirstStart {
    pub account: AccountId,
    pub shipping_token: ShippingToken,
    pub api_token: ApiToken,
    /// Of the link that makes the first user.
    pub setup_token: LinkToken,
}

/// Why there is no first account.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("the operating system gives no random numbers")]
    Random(#[from] getrandom::Error),
    #[error("the first account cannot be created")]
    Store(#[from] StoreError),
}

/// Creates the main account with its `default` shipping token and an API token, in one transaction, and then the set-up link. `None` when the
/// store has accounts already: then nothing of `bootstrap` matters any more.
pub async fn bootstrap(store: &Store, bootstrap: Bootstrap) -> Result<Option<FirstStart>, BootstrapError> {
    let mut secrets = random_secrets()?;
    if let Some(given) = bootstrap.shipping_token {
        secrets.shipping_token = given;
    }
    if let Some(given) = bootstrap.api_token {
        secrets.api_token = given;
    }
    let settings = AccountSettings {
        name: bootstrap.account_name,
        retention: Retention { days: RETENTION_DAYS_DEFAULT, bytes_max: None },
        durability: None,
        rate_bytes_max: None,
    };
    let by = By { actor: "bootstrap".to_owned(), ..By::default() };
    let account = store.create_first_account(bootstrap.plan, settings, secrets.clone(), &by).await?;
    let Some(account) = account else { return Ok(None) };
    let setup_token = random_link_token()?;
    store.offer_setup(&setup_token.digest(), None, &by).await?;
    Ok(Some(FirstStart {
        account: account.id,
        shipping_token: secrets.shipping_token,
        api_token: secrets.api_token,
        setup_token,
    }))
}

pub(super) fn random_secrets() -> Result<FirstSecrets, getrandom::Error> {
    Ok(FirstSecrets { shipping_token: random_shipping_token()?, api_token: random_api_token()? })
}

pub(super) fn random_shipping_token() -> Result<ShippingToken, getrandom::Error> {
    Ok(ShippingToken::from_entropy(&entropy()?))
}

pub(super) fn random_api_token() -> Result<ApiToken, getrandom::Error> {
    Ok(ApiToken::from_entropy(&entropy()?))
}

pub(super) fn random_shared_token() -> Result<SharedToken, getrandom::Error> {
    Ok(SharedToken::from_entropy(&entropy()?))
}

pub(super) fn random_link_token() -> Result<LinkToken, getrandom::Error> {
    Ok(LinkToken::from_entropy(&entropy()?))
}

/// 256 random bits.
pub(super) fn random_session_token() -> Result<SessionToken, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(SessionToken::parse(&digits).expect("64 digits are a token"))
}

fn entropy() -> Result<[u64; 32], getrandom::Error> {
    let mut words = [0; 32];
    for word in &mut words {
        *word = getrandom::u64()?;
    }
    Ok(words)
}
