-- What a gateway did since it started, besides answering requests. refusals_json: how many requests it refused, by reason.
ALTER TABLE gateways ADD COLUMN lines BIGINT NOT NULL DEFAULT 0;
ALTER TABLE gateways ADD COLUMN lines_per_1000_s BIGINT NOT NULL DEFAULT 0;
ALTER TABLE gateways ADD COLUMN refusals_json TEXT NOT NULL DEFAULT '{}';
