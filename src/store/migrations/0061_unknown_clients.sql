-- Who ships with tokens that are and were nobody's: those seen last, with how many batches they sent. Neither the tokens nor
-- their digests are kept.
CREATE TABLE unknown_clients (
    source TEXT NOT NULL,
    agent TEXT NOT NULL,
    requests BIGINT NOT NULL,
    last_minute BIGINT NOT NULL,
    PRIMARY KEY (source, agent)
);
