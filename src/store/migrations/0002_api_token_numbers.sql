-- API tokens get numbers, by which they are deleted: those that exist in the order they were made.
ALTER TABLE store ADD COLUMN api_token_next BIGINT NOT NULL DEFAULT 1;
ALTER TABLE api_tokens ADD COLUMN id BIGINT;
UPDATE api_tokens SET id = (
    SELECT COUNT(*) FROM api_tokens AS o
    WHERE o.created_ms < api_tokens.created_ms
       OR (o.created_ms = api_tokens.created_ms AND o.digest <= api_tokens.digest)
);
UPDATE store SET api_token_next = 1 + (SELECT COUNT(*) FROM api_tokens);
CREATE UNIQUE INDEX api_tokens_by_id ON api_tokens (id);
