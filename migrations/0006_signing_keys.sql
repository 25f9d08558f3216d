-- Signing keys of all algorithms, with an end and a last use; and where a project's other keys are published.

-- jwks_url: where the public keys of the project's tokens are fetched from (RFC 7517). issuer: the `iss` its tokens must carry.
alter table projects
    add column jwks_url text,
    add column issuer   text;

-- A key for HS256 has a secret, encrypted under NUNCIO_SECRET_KEY; any other has a public key, as SubjectPublicKeyInfo in DER.
alter table signing_keys
    alter column secret drop not null,
    add column public_key   bytea,
    add column expires_at   timestamptz,
    add column last_used_at timestamptz,
    add column version      bigint not null default 1,
    add check ((secret is null) <> (public_key is null));
