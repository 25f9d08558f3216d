-- What is taken from tokens before they end by themselves. Rows are never changed.
--
-- kind jti: the token with that id. kind subject: the tokens of a subject that were made before a time. kind right: what a
-- pattern matches, from the tokens of one subject, or of all, that were made before a time.
create table revocations (
    id            bigint      generated always as identity primary key,
    project_id    integer     not null references projects on delete cascade,
    kind          text        not null check (kind in ('jti', 'subject', 'right')),
    jti           text        check ((kind = 'jti') = (jti is not null)),
    subject       text        check (kind <> 'jti' or subject is null),
    action        text        check ((kind = 'right') = (action is not null)),
    pattern       text        check ((kind = 'right') = (pattern is not null)),
    issued_before timestamptz check ((kind = 'jti') = (issued_before is null)),
    reason        text        not null,
    created_at    timestamptz not null default now(),
    expires_at    timestamptz,
    check (kind <> 'subject' or subject is not null)
);
create index revocations_by_project on revocations (project_id, id);
