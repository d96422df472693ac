-- What a gateway learns of tokens, in the order in which it learns it: snapshots are read from here alone. Scopes are too long
-- for an index, and rare.
CREATE INDEX shipping_tokens_plain ON shipping_tokens (digest, id, account, expires_ms, would_refuse)
    WHERE enabled = 1 AND scope_json IS NULL;
CREATE INDEX shipping_tokens_scoped ON shipping_tokens (digest) WHERE enabled = 1 AND scope_json IS NOT NULL;
