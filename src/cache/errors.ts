import { BaseError } from '../base/index.ts'

/** Every code of the room: what it means and what to do. docs/errors.md is made from this table. */
export const CACHE_ERRORS = {
  CACHE_UNREACHABLE:
    'Postgres did not answer at the address of -psql. Check the address, that the server runs and that this host may connect; at start the program tries for 30 s, later it tries on for good.',
  CACHE_REFUSED:
    'Postgres answered and refused the login: wrong user, password, database or pg_hba.conf. Correct -psql; trying again would not help.',
  CACHE_POSTGRES_TOO_OLD:
    'The server of -psql is older than Postgres 15, whose MERGE the cache writes with. Upgrade it, or give another one.',
  CACHE_CONNECTION_LOST:
    'The connection to Postgres broke while a statement ran. It is opened again with a growing pause; what was not committed is written again.',
  CACHE_BUSY:
    'More queries wait for the database than it answers in time, so this one was not sent. Ask again later; if it stays so, look for what slows Postgres.',
  CACHE_MIGRATION_CHANGED:
    'A migration file differs from what ran on this database. Restore the file of that release: migrations are never edited, only added.',
  CACHE_MIGRATION_FAILED:
    'A migration did not run; the database is as it was before it. The cause says why: most often the role of -psql may not create tables.',
  CACHE_ANCESTOR_DATABASE:
    'The database holds tables of tatsuworks/gateway and was not adopted, or was given back. `gateway migrate -psql …` shows what adopting it takes, with -yes it does so; or give an empty database.',
  CACHE_ADOPTION_BUSY:
    'A step of `gateway migrate` did not get the lock of its table, or another one is running. Stop whatever writes there and run it again: what is done stays done.',
  CACHE_ADOPTION_FAILED:
    'A step of `gateway migrate` failed; the cause says why, most often that the role of -psql does not own the tables. Run it again when that is cured: what is done stays done.',
  CACHE_OTHER_BOT:
    'The database belongs to another bot. One database holds the state of one bot: give this bot a database of its own.',
  CACHE_OTHER_FLEET:
    'The database belongs to a fleet of another -name. Start with that name, or give this fleet a database of its own.',
  CACHE_NO_FLEET:
    'The database was never used by a gateway: it has no fleet row. Start `gateway` on it first, or correct -psql.',
  CACHE_DATA_LOCKED:
    'Another process uses the folder of -data. Two processes on it would destroy it: stop the one with the pid in the message, or give another folder.',
  CACHE_DATA_UNUSABLE:
    'The folder of -data cannot be created, written or opened as a database. The cause says why; a folder that was damaged has to be moved away.',
  CACHE_CLOSED: 'The cache was used after it was closed: the program is stopping.',
} as const

export type CacheErrorCode = keyof typeof CACHE_ERRORS

/** What goes wrong between the gateway and its database. docs/errors.md#cache */
export class CacheError extends BaseError<CacheErrorCode> {
  override readonly name = 'CacheError'
}
