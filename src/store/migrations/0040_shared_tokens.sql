-- Shared tokens, the filters that limit what they let be read, and which has which. Their numbers begin where nobody guesses
-- one that does not exist.
ALTER TABLE store ADD COLUMN shared_token_next BIGINT NOT NULL DEFAULT 1000000;
ALTER TABLE store ADD COLUMN filter_next BIGINT NOT NULL DEFAULT 1000000;

-- filtered: 1 once filters were chosen. A token that is filtered and has no filter left shows nothing, so no row that goes
-- missing ever shows more.
CREATE TABLE shared_tokens (
    id BIGINT NOT NULL PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    ciphertext TEXT NOT NULL,
    filtered BIGINT NOT NULL CHECK (filtered IN (0, 1)),
    operator TEXT NOT NULL CHECK (operator IN ('AND', 'OR')),
    expires_ms BIGINT,
    query_bar BIGINT NOT NULL CHECK (query_bar IN (0, 1)),
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    last_used_ms BIGINT,
    views BIGINT NOT NULL DEFAULT 0,
    UNIQUE (account, name)
);

CREATE TABLE filters (
    id BIGINT NOT NULL PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES accounts (id),
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    description TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    UNIQUE (account, field, value)
);

CREATE TABLE shared_token_filters (
    token BIGINT NOT NULL REFERENCES shared_tokens (id),
    filter BIGINT NOT NULL REFERENCES filters (id),
    place BIGINT NOT NULL,
    PRIMARY KEY (token, filter)
);
CREATE INDEX shared_token_filters_by_filter ON shared_token_filters (filter);
