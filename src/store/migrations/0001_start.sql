-- The same statements run on SQLite and on PostgreSQL: only BIGINT and TEXT, booleans as 0 and 1, instants as
-- milliseconds since the Unix epoch, digests and ciphertexts as lower-case hexadecimal digits.

-- One row: who this store is, and its counters. Every writing transaction begins by updating it, which is what
-- puts writers in a line.
CREATE TABLE store (
    single BIGINT NOT NULL PRIMARY KEY CHECK (single = 1),
    id TEXT NOT NULL,
    key_check TEXT NOT NULL,
    writes BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    account_next BIGINT NOT NULL,
    token_next BIGINT NOT NULL,
    audit_next BIGINT NOT NULL
);

-- A main account has a plan and no parent; a sub-account has a parent and shares its plan.
CREATE TABLE accounts (
    id BIGINT NOT NULL PRIMARY KEY,
    parent BIGINT REFERENCES accounts (id),
    name TEXT NOT NULL,
    plan TEXT,
    retention_days BIGINT NOT NULL,
    retention_bytes_max BIGINT,
    durability TEXT,
    rate_bytes_max BIGINT,
    default_token BIGINT,
    created_ms BIGINT NOT NULL,
    CHECK ((parent IS NULL) <> (plan IS NULL))
);
CREATE INDEX accounts_by_parent ON accounts (parent);

CREATE TABLE shipping_tokens (
    id BIGINT NOT NULL PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    ciphertext TEXT NOT NULL,
    enabled BIGINT NOT NULL CHECK (enabled IN (0, 1)),
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    updated_ms BIGINT NOT NULL,
    updated_by TEXT NOT NULL,
    UNIQUE (account, name)
);

CREATE TABLE api_tokens (
    digest TEXT NOT NULL PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    UNIQUE (account, name)
);

-- What became of what, by whom, and from where. before_json and after_json never hold a secret.
CREATE TABLE audit (
    id BIGINT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    account BIGINT NOT NULL REFERENCES accounts (id),
    actor TEXT NOT NULL,
    actor_account BIGINT,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    before_json TEXT,
    after_json TEXT,
    source TEXT,
    request_id TEXT
);
CREATE INDEX audit_by_account ON audit (account, id);

-- The last revisions of the directory, each with its changes. Older ones are trimmed; a gateway that needs them
-- gets a snapshot instead.
CREATE TABLE directory_log (
    revision BIGINT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    changes_json TEXT NOT NULL
);
