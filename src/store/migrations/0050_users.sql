-- People who use the console: each of one account, known by an e-mail address that nobody else has. Without a password: invited.
CREATE TABLE users (
    id BIGINT NOT NULL PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES accounts (id),
    email TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    password TEXT,
    suspended BIGINT NOT NULL CHECK (suspended IN (0, 1)),
    created_ms BIGINT NOT NULL,
    seen_ms BIGINT
);
CREATE INDEX users_by_account ON users (account);

-- At most one a user: who has its secret sets the password.
CREATE TABLE invitations (
    user_id BIGINT NOT NULL PRIMARY KEY REFERENCES users (id),
    digest TEXT NOT NULL UNIQUE,
    expires_ms BIGINT NOT NULL
);

CREATE TABLE sessions (
    digest TEXT NOT NULL PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    created_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);

ALTER TABLE store ADD COLUMN user_next BIGINT NOT NULL DEFAULT 1;
-- The set-up link, which makes an admin of the main account. Without an end it is the first start's, and over when there is an admin.
ALTER TABLE store ADD COLUMN setup_digest TEXT;
ALTER TABLE store ADD COLUMN setup_expires_ms BIGINT;
