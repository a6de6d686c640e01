/**
 * How an ancestor's database becomes ours: each step looks whether it is still needed, so that an adoption that was
 * interrupted goes on where it stopped. Nothing is taken away but the triggers on guilds, whose definitions are
 * kept for the way back; the ancestor can write to every table before, between and after.
 */
import { createHash } from 'node:crypto'
import type { Migration } from '../migrate.ts'
import type { Inspection } from './inspection.ts'

/** `exclusive` holds up readers and writers of the table, for as long as it is rewritten. */
export type StepLock = 'none' | 'brief' | 'exclusive'

export interface Step {
  readonly what: string
  /** Of the table that is rewritten or read; 0 where nothing is. */
  readonly bytes: number
  readonly lock: StepLock
  readonly statements: readonly string[]
  /** What the way back runs; kept in gateway_adoption before the step. */
  readonly undo?: { readonly kind: UndoKind; readonly name: string; readonly sql: string }
}

export type UndoKind = 'logged' | 'index' | 'trigger'

export const ADOPTION_TABLE = 'gateway_adoption'
/** gateway_migrations while the adoption is taken back: our tables and columns stay where they are. */
const SET_ASIDE = 'gateway_migrations_set_aside'

/** The ancestor's sessions; ours are gateway_sessions, and its rows are never resumed. It may go on writing there. */
const NOT_OURS = new Set(['shards'])

const COLUMNS: Readonly<Record<string, readonly string[]>> = {
  guilds: [
    'unavailable boolean not null default false',
    `count_session_id text not null default ''`,
    'count_sequence int8 not null default 0',
  ],
  guilds_persistent: [
    `state text not null default 'present' check (state in ('present', 'joining', 'unavailable', 'backfill'))`,
    `session_id text not null default ''`,
    'sequence int8 not null default 0',
    'since timestamptz not null default now()',
  ],
}

/** The statements of the first migration, without its comments. */
function statementsOf({ sql }: Migration): string[] {
  return sql
    .replace(/^\s*--.*$/gm, '')
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')
}

export function adoptionSteps(found: Inspection, first: Migration): Step[] {
  const steps: Step[] = []
  const statements = statementsOf(first)
  const tables = statements.flatMap((statement) => {
    const name = /^create table (\w+)/.exec(statement)?.[1]
    return name === undefined ? [] : [{ name, statement }]
  })
  const missing = tables.filter(({ name }) => !found.tables.has(name))
  if (missing.length > 0) {
    steps.push({
      what: `make ${missing.map(({ name }) => name).join(', ')}`,
      bytes: 0,
      lock: 'none',
      statements: missing.map(({ statement }) => statement),
    })
  }
  for (const [table, columns] of Object.entries(COLUMNS)) {
    if (!found.tables.has(table)) continue
    steps.push({
      what: `add columns to ${table}, with constant defaults: nothing is rewritten`,
      bytes: 0,
      lock: 'brief',
      statements: [
        `alter table ${table} ${columns.map((column) => `add column if not exists ${column}`).join(', ')}`,
      ],
    })
  }
  const settings = tables.flatMap(({ name, statement }) => {
    const fillfactor = /with \((fillfactor = \d+)\)/.exec(statement)?.[1]
    if (fillfactor === undefined || !found.tables.has(name)) return []
    return [`alter table ${name} set (${fillfactor})`]
  })
  if (settings.length > 0) {
    steps.push({
      what: 'leave room in pages for updates, from the next rewrite on',
      bytes: 0,
      lock: 'none',
      statements: settings,
    })
  }
  steps.push(...loggedSteps(found, new Set(tables.map(({ name }) => name))))
  for (const statement of statements) {
    const match = /^create index (\w+) on (\w+) \(([^)]*)\)$/.exec(statement)
    if (match === null) continue
    steps.push(...indexSteps(found, match[1]!, match[2]!, match[3]!.split(/,\s*/)))
  }
  steps.push(switchStep(found, first))
  return steps
}

/** The smallest first: what goes wrong goes wrong early. */
function loggedSteps(found: Inspection, ours: ReadonlySet<string>): Step[] {
  return [...found.tables.values()]
    .filter(({ name, isUnlogged }) => isUnlogged && ours.has(name) && !NOT_OURS.has(name))
    .sort((a, b) => a.bytes - b.bytes)
    .map(({ name, bytes }) => ({
      what: `set ${name} LOGGED: it is rewritten, and written to the WAL once`,
      bytes,
      lock: 'exclusive' as const,
      statements: [`alter table ${name} set logged`],
      undo: { kind: 'logged' as const, name, sql: `alter table ${name} set unlogged` },
    }))
}

function indexSteps(
  found: Inspection,
  name: string,
  table: string,
  columns: readonly string[],
): Step[] {
  const state = found.tables.get(table)
  // A table that is made in this run brings its index with it below, at once and empty.
  const concurrently = state === undefined ? '' : 'concurrently '
  const same = found.indexes.filter(
    (index) => index.table === table && columns.every((column, at) => index.columns[at] === column),
  )
  if (same.some(({ isInvalid }) => !isInvalid)) return []
  const broken = found.indexes.find((index) => index.name === name && index.isInvalid)
  return [
    {
      what: `index ${table} by ${columns.join(', ')}`,
      bytes: state?.bytes ?? 0,
      lock: 'none',
      statements: [
        ...(broken === undefined ? [] : [`drop index concurrently if exists ${name}`]),
        `create index ${concurrently}${name} on ${table} (${columns.join(', ')})`,
      ],
      undo: { kind: 'index', name, sql: `drop index concurrently if exists ${name}` },
    },
  ]
}

/**
 * In one transaction. From here on membership is ours: guilds that the ancestor knew are present, so that none of them
 * is announced as joined again.
 */
function switchStep(found: Inspection, first: Migration): Step {
  const sha256 = createHash('sha256').update(first.sql).digest('hex')
  const keepTriggers = found.triggers.map(
    ({ name, definition }) =>
      `insert into ${ADOPTION_TABLE} (kind, name, undo) values ('trigger', ${literal(name)}, ${literal(definition)})
       on conflict (kind, name) do update set undo = excluded.undo`,
  )
  const migrations = found.tables.has(SET_ASIDE)
    ? [`alter table ${SET_ASIDE} rename to gateway_migrations`]
    : [
        `create table gateway_migrations (
           number int4 primary key, name text not null, sha256 text not null, applied_at timestamptz not null default now()
         )`,
        `insert into gateway_migrations (number, name, sha256) values (${first.number}, ${literal(first.name)}, '${sha256}')`,
      ]
  return {
    what: `switch: ${found.triggers.length} triggers on guilds are kept aside, membership is ours from here on`,
    bytes: 0,
    lock: 'brief',
    statements: [
      'begin',
      ...keepTriggers,
      ...found.triggers.map(({ name }) => `drop trigger ${identifier(name)} on guilds`),
      'insert into guilds_persistent (id) select id from guilds on conflict do nothing',
      ...migrations,
      'commit',
    ],
  }
}

/**
 * The way back to the ancestor: what was kept, in the opposite order, and its kind of membership.
 *
 * @param isSwitched whether membership is ours; not so when an adoption or a way back was interrupted.
 */
export function rollbackSteps(
  kept: readonly { readonly kind: string; readonly name: string; readonly undo: string }[],
  isSwitched: boolean,
): Step[] {
  const of = (kind: UndoKind) => kept.filter((row) => row.kind === kind)
  const forget = (kind: string, name: string): string =>
    `delete from ${ADOPTION_TABLE} where kind = ${literal(kind)} and name = ${literal(name)}`
  const switchBack: Step = {
    what: `switch: ${of('trigger').length} triggers on guilds are put back, membership is theirs from here on`,
    bytes: 0,
    lock: 'brief',
    statements: [
      'begin',
      // What the triggers would have kept: the guilds that there are.
      'delete from guilds_persistent p where not exists (select from guilds g where g.id = p.id)',
      'insert into guilds_persistent (id) select id from guilds on conflict do nothing',
      ...of('trigger').flatMap(({ name, undo }) => [undo, forget('trigger', name)]),
      `alter table gateway_migrations rename to ${SET_ASIDE}`,
      'commit',
    ],
  }
  return [
    ...(isSwitched ? [switchBack] : []),
    ...of('index').map(
      ({ name, undo }): Step => ({
        what: `drop index ${name}`,
        bytes: 0,
        lock: 'none',
        statements: [undo, forget('index', name)],
      }),
    ),
    ...of('logged').map(
      ({ name, undo }): Step => ({
        what: `set ${name} UNLOGGED: it is rewritten`,
        bytes: 0,
        lock: 'exclusive',
        statements: [undo, forget('logged', name)],
      }),
    ),
  ]
}

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
