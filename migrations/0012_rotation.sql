-- Which signing key took the place of which, as keys and admin keys have it already.

alter table signing_keys
    add column rotated_from text,
    add foreign key (project_id, rotated_from) references signing_keys (project_id, kid);
