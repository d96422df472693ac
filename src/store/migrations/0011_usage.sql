-- The ledger: who uses which token. Sums by day, the first and last use, and the clients seen last. Days and minutes count
-- from the Unix epoch.

-- Which counts of which gateway's process are in: a repeated one is not counted again.
CREATE TABLE usage_reports (
    instance TEXT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    at_ms BIGINT NOT NULL
);

-- Tokens that were deleted: who still ships with them is told by the digest.
CREATE TABLE former_tokens (
    id BIGINT NOT NULL PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    deleted_ms BIGINT NOT NULL
);
CREATE INDEX former_tokens_by_digest ON former_tokens (digest);
CREATE INDEX former_tokens_by_account ON former_tokens (account);

-- One row for each token that was ever used. last_refused_minute: with the token itself refused.
CREATE TABLE token_uses (
    token BIGINT NOT NULL PRIMARY KEY,
    first_used_minute BIGINT,
    last_used_minute BIGINT,
    last_refused_minute BIGINT
);

CREATE TABLE token_days (
    token BIGINT NOT NULL,
    day BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    lines BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    refused_lines BIGINT NOT NULL,
    PRIMARY KEY (token, day)
);
CREATE INDEX token_days_by_day ON token_days (day);

CREATE TABLE token_refusals (
    token BIGINT NOT NULL,
    day BIGINT NOT NULL,
    reason TEXT NOT NULL,
    requests BIGINT NOT NULL,
    PRIMARY KEY (token, day, reason)
);
CREATE INDEX token_refusals_by_day ON token_refusals (day);

-- ended: 1 for uses after the token's end, 0 for those while it was enabled.
CREATE TABLE token_clients (
    token BIGINT NOT NULL,
    ended BIGINT NOT NULL CHECK (ended IN (0, 1)),
    source TEXT NOT NULL,
    agent TEXT NOT NULL,
    requests BIGINT NOT NULL,
    last_minute BIGINT NOT NULL,
    PRIMARY KEY (token, ended, source, agent)
);
