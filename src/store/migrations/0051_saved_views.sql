-- Views of the console under a name, for everybody of the account. owner: the user who made it, if one did, for whom it is kept even
-- when the user is gone.
CREATE TABLE saved_views (
    id BIGINT NOT NULL PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    place TEXT NOT NULL,
    owner BIGINT,
    created_by TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    UNIQUE (account, name)
);
ALTER TABLE store ADD COLUMN view_next BIGINT NOT NULL DEFAULT 1;
