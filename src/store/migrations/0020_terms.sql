-- The terms of shipping tokens, all of them empty of tokens that have none.
ALTER TABLE shipping_tokens ADD COLUMN expires_ms BIGINT;
ALTER TABLE shipping_tokens ADD COLUMN scope_json TEXT;
ALTER TABLE shipping_tokens ADD COLUMN would_refuse BIGINT NOT NULL DEFAULT 0 CHECK (would_refuse IN (0, 1));

-- A rotation: since when the token is being retired, which one takes its place, and after how long without use it ends.
-- Its deadline is its expiry. Empty again when it has ended.
ALTER TABLE shipping_tokens ADD COLUMN retiring_since_ms BIGINT;
ALTER TABLE shipping_tokens ADD COLUMN successor BIGINT;
ALTER TABLE shipping_tokens ADD COLUMN quiet_for_ms BIGINT;

CREATE INDEX shipping_tokens_by_expiry ON shipping_tokens (expires_ms) WHERE expires_ms IS NOT NULL AND enabled = 1;
CREATE INDEX shipping_tokens_retiring ON shipping_tokens (account) WHERE retiring_since_ms IS NOT NULL;
