-- Every gateway that has reported: who it is, and which revision of the directory it last said to enforce. What is
-- here may be some seconds old; the replica that a gateway reports to knows better.
CREATE TABLE gateways (
    id TEXT NOT NULL PRIMARY KEY,
    instance TEXT NOT NULL,
    number BIGINT NOT NULL,
    address TEXT NOT NULL,
    software TEXT NOT NULL,
    store TEXT NOT NULL,
    revision BIGINT NOT NULL,
    started_ms BIGINT NOT NULL,
    first_seen_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL,
    left_ms BIGINT,
    requests BIGINT NOT NULL,
    requests_per_1000_s BIGINT NOT NULL
);

-- Whether somebody waits for this revision to be enforced: gateways then report at once.
ALTER TABLE directory_log ADD COLUMN receipt BIGINT NOT NULL DEFAULT 0;
