-- Settings, keys, and what needs an administrator's eye.

-- Bumped in the transaction of every change that nodes must learn of; they look at it once a second.
create table settings_version (
    one     boolean primary key default true check (one),
    version bigint  not null default 1
);
insert into settings_version default values;

create table namespaces (
    project_id integer     not null references projects on delete cascade,
    name       text        not null,
    settings   jsonb       not null,
    created_at timestamptz not null default now(),
    version    bigint      not null default 1,
    primary key (project_id, name)
);

-- API keys (nk_…). prefix names a key in lists and logs; hash is the SHA-256 of the whole key.
create table api_keys (
    id           bigint      generated always as identity primary key,
    project_id   integer     not null references projects on delete cascade,
    prefix       text        not null unique,
    hash         bytea       not null,
    label        text        not null,
    rights       jsonb       not null,
    created_at   timestamptz not null default now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    version      bigint      not null default 1
);
create index api_keys_by_project on api_keys (project_id, id);

-- Keys that tokens are signed with; secret is encrypted under NUNCIO_SECRET_KEY.
create table signing_keys (
    id         bigint      generated always as identity primary key,
    project_id integer     not null references projects on delete cascade,
    kid        text        not null,
    algorithm  text        not null,
    secret     bytea       not null,
    created_at timestamptz not null default now(),
    revoked_at timestamptz,
    unique (project_id, kid)
);

create table admin_keys (
    id           bigint      generated always as identity primary key,
    prefix       text        not null unique,
    hash         bytea       not null,
    name         text        not null,
    role         text        not null,
    created_at   timestamptz not null default now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

-- Messages that could not become events: kept as they came, with the reason.
create table dead_letters (
    id          bigint      generated always as identity primary key,
    project_id  integer     not null references projects on delete cascade,
    received_at timestamptz not null default now(),
    reason      text        not null,
    detail      text        not null,
    routing_key text        not null,
    exchange    text        not null,
    properties  jsonb       not null,
    body        bytea       not null
);
create index dead_letters_by_project on dead_letters (project_id, id);

-- The processes that serve this database now; a row whose heartbeat is old belongs to one that is gone.
create table nodes (
    id           text        primary key,
    role         text        not null,
    version      text        not null,
    started_at   timestamptz not null default now(),
    heartbeat_at timestamptz not null default now()
);
