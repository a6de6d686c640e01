/** What an ancestor's database looks like: the adoption has no memory of its own, it looks at what is there. */
import type { Queryable } from '../database.ts'

export interface TableState {
  readonly name: string
  readonly isUnlogged: boolean
  /** With indexes and TOAST. */
  readonly bytes: number
  /** As Postgres estimates them; null: it has never counted. */
  readonly rows: number | null
}

export interface IndexState {
  readonly name: string
  readonly table: string
  readonly columns: readonly string[]
  /** Not whole: the CREATE INDEX CONCURRENTLY of it was interrupted. */
  readonly isInvalid: boolean
}

export interface TriggerState {
  readonly name: string
  readonly definition: string
}

export interface Inspection {
  readonly tables: ReadonlyMap<string, TableState>
  readonly indexes: readonly IndexState[]
  /** Those on guilds, by which the ancestor keeps guilds_persistent. */
  readonly triggers: readonly TriggerState[]
  /** Other clients of the database: application name or address. */
  readonly others: readonly string[]
}

/** As its README and its code have them; FoundationDB has none. */
const ANCESTOR_TABLES = ['guilds', 'channels', 'members', 'shards', 'guilds_persistent']

export async function inspect(database: Queryable): Promise<Inspection> {
  const tables = await database.query<{
    name: string
    persistence: string
    bytes: string
    rows: string | null
  }>(
    `select relname as name, relpersistence::text as persistence, pg_total_relation_size(oid)::text as bytes,
            nullif(reltuples, -1)::int8::text as rows
     from pg_class where relnamespace = current_schema()::regnamespace and relkind = 'r'`,
  )
  const indexes = await database.query<IndexState>(
    `select c.relname as name, t.relname as table, not i.indisvalid as "isInvalid",
            array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k (attnum, n)
                  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum order by n) as columns
     from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid
     where t.relnamespace = current_schema()::regnamespace and i.indpred is null`,
  )
  const triggers = await database.query<TriggerState>(
    `select tgname as name, pg_get_triggerdef(oid) as definition from pg_trigger
     where tgrelid = to_regclass('guilds') and not tgisinternal order by tgname`,
  )
  const others = await database.query<{ who: string }>(
    `select coalesce(nullif(application_name, ''), host(client_addr), 'unnamed') as who from pg_stat_activity
     where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
       and application_name <> current_setting('application_name')`,
  )
  return {
    tables: new Map(
      tables.map(({ name, persistence, bytes, rows }) => [
        name,
        {
          name,
          isUnlogged: persistence === 'u',
          bytes: Number(bytes),
          rows: rows === null ? null : Number(rows),
        },
      ]),
    ),
    indexes,
    triggers,
    others: others.map(({ who }) => who),
  }
}

/** The ancestor's tables that are there although no gateway has run on them; none: nothing to adopt. */
export function ancestorTables(names: ReadonlySet<string>): string[] {
  if (names.has('gateway_migrations')) return []
  return ANCESTOR_TABLES.filter((name) => names.has(name))
}
