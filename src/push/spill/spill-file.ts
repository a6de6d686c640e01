import { randomUUID } from 'node:crypto'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import {
  ROW_BYTES,
  type SpillDrop,
  type SpillOpened,
  type SpillRange,
  type SpillRows,
} from './spill-rows.ts'

/** `PRAGMA user_version` of the files; one of another version is left alone. */
const FORMAT_VERSION = 1
/** `PRAGMA application_id`: "gwsp". */
const APPLICATION_ID = 0x67777370
/** Processes that spill for the same destination in one folder at the same time. */
const FILES_MAX = 64
const ADOPT_ROWS = 1000
/** SQLite result codes: https://sqlite.org/rescode.html */
const SQLITE_BUSY = 5
const SQLITE_CORRUPT = 11
const SQLITE_NOTADB = 26

const SCHEMA = `
  create table spill (form text not null);
  create table events (
    id integer primary key,
    name text not null,
    channel integer not null,
    shard integer not null,
    session text not null,
    sequence integer not null,
    received_at integer not null,
    payload blob not null
  );`

/** Files of version 1 may lack it, and programs that do not know it leave it alone. */
const IDENTITY = `
  create table if not exists identity (id text primary key, is_own integer not null)`

/**
 * The spill of one destination on disk: an SQLite database that one process holds at a time. Runs in the
 * thread of the disk, everything here blocks.
 *
 *   <folder>/<destination>.<n>.sqlite     n = the first number that no living process holds
 *
 * What was written is on the disk when write() returns (WAL, synchronous=full). The lock is SQLite's own, so
 * that it ends with its process. What dead processes left in files of other numbers is taken over at open.
 */
export class SpillFile {
  readonly opened: SpillOpened
  readonly #database: DatabaseSync
  readonly #bytesMax: number
  readonly #insert: StatementSync
  readonly #select: StatementSync
  readonly #delete: StatementSync
  #bytes: number
  #lastId: number
  /** Rows up to this id are with the queue again; they are only removed by it. */
  #readTo = 0

  /** @throws Error of the file system or of SQLite, where no file can be used. */
  constructor(options: {
    readonly folder: string
    readonly name: string
    readonly form: string
    readonly bytesMax: number
  }) {
    const { folder, form, bytesMax } = options
    const warnings: { path: string; cause: string }[] = []
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const base = encodeURIComponent(options.name)
    const { database, path, isNew } = openFirst(folder, base, form, warnings)
    this.#database = database
    this.#bytesMax = bytesMax
    this.#insert = database.prepare('insert into events values (?, ?, ?, ?, ?, ?, ?, ?)')
    this.#select = database.prepare('select * from events where id > ? order by id')
    this.#delete = database.prepare('delete from events where id = ?')
    this.#lastId = lastIdIn(database)
    adoptOthers(folder, base, form, path, database, this.#lastId, warnings)
    const { events, bytes } = database
      .prepare(
        `select count(*) as events, coalesce(sum(length(payload) + ${ROW_BYTES}), 0) as bytes from events`,
      )
      .get() as { events: number; bytes: number }
    this.#bytes = bytes
    this.#lastId = lastIdIn(database)
    this.opened = {
      path,
      events,
      bytes,
      lastId: this.#lastId,
      ranges: events === 0 ? [] : rangesIn(database),
      spillId: idsIn(database, true)[0]!,
      isNew,
      takenOver: idsIn(database, false),
      warnings,
    }
  }

  /** Adds rows; beyond the bound the oldest that are not with the queue are dropped. */
  write(rows: SpillRows, keptTo: number): { drops: SpillDrop[]; droppedBytes: number } {
    const drops: SpillDrop[] = []
    let droppedBytes = 0
    const addedBytes = rows.bytes.length + rows.ids.length * ROW_BYTES
    this.#transaction(() => {
      const over = this.#bytes + addedBytes - this.#bytesMax
      if (over > 0) droppedBytes = this.#dropOldest(over, drops)
      let start = 0
      for (let index = 0; index < rows.ids.length; index++) {
        const end = start + rows.lengths[index]!
        this.#insert.run(
          rows.ids[index]!,
          rows.names[index]!,
          rows.channels[index]!,
          rows.shards[index]!,
          rows.sessions[index]!,
          rows.sequences[index]!,
          rows.receivedAtMs[index]!,
          rows.bytes.subarray(start, end),
        )
        start = end
      }
    })
    this.#bytes += addedBytes - droppedBytes
    this.#lastId = rows.ids.at(-1) ?? this.#lastId
    this.#readTo = Math.max(this.#readTo, keptTo)
    return { drops, droppedBytes }
  }

  /** The oldest rows that are not with the queue yet: at least one, if there is one. They stay until remove(). */
  read(eventsMax: number, bytesMax: number): SpillRows {
    const found: Row[] = []
    let bytes = 0
    for (const row of this.#select.iterate(this.#readTo) as Iterable<unknown>) {
      const one = row as Row
      if (found.length > 0 && bytes + one.payload.length > bytesMax) break
      found.push(one)
      bytes += one.payload.length
      if (found.length >= eventsMax) break
    }
    this.#readTo = found.at(-1)?.id ?? this.#readTo
    return rowsOf(found, bytes)
  }

  remove(ids: Float64Array): void {
    let freedBytes = 0
    this.#transaction(() => {
      const length = this.#database.prepare(
        'select length(payload) as bytes from events where id = ?',
      )
      for (const id of ids) {
        const row = length.get(id) as { bytes: number } | undefined
        if (row === undefined) continue
        freedBytes += row.bytes + ROW_BYTES
        this.#delete.run(id)
      }
    })
    this.#bytes -= freedBytes
    if (this.#bytes === 0) this.#giveBack()
  }

  /** @param keepsFile also when nothing lies in it. */
  close(keepsFile = false): void {
    const path = this.opened.path
    const isEmpty = this.#bytes === 0
    this.#database.close()
    if (isEmpty && !keepsFile) removeFile(path)
  }

  /** Rows that are written but not with the queue: what a drop may take. */
  #dropOldest(bytes: number, drops: SpillDrop[]): number {
    let freed = 0
    let lastId = 0
    const oldest = this.#database.prepare(
      'select id, name, shard, session, sequence, length(payload) as bytes from events where id > ? order by id',
    )
    for (const row of oldest.iterate(this.#readTo) as Iterable<unknown>) {
      if (freed >= bytes) break
      const one = row as Row & { bytes: number }
      freed += one.bytes + ROW_BYTES
      lastId = one.id
      drops.push({
        eventName: one.name,
        shardId: one.shard,
        sessionId: one.session,
        sequence: one.sequence,
      })
    }
    if (lastId > 0) {
      this.#database
        .prepare('delete from events where id > ? and id <= ?')
        .run(this.#readTo, lastId)
    }
    return freed
  }

  #transaction(work: () => void): void {
    this.#database.exec('begin immediate')
    try {
      work()
      this.#database.exec('commit')
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('rollback')
      throw error
    }
  }

  /** An outage may have made the file large. */
  #giveBack(): void {
    this.#database.exec('pragma incremental_vacuum; pragma wal_checkpoint(truncate)')
  }
}

interface Row {
  readonly id: number
  readonly name: string
  readonly channel: number
  readonly shard: number
  readonly session: string
  readonly sequence: number
  readonly received_at: number
  readonly payload: Uint8Array
}

function rowsOf(found: readonly Row[], byteCount: number): SpillRows {
  const bytes = new Uint8Array(byteCount)
  let pos = 0
  for (const { payload } of found) {
    bytes.set(payload, pos)
    pos += payload.length
  }
  return {
    ids: Float64Array.from(found, (row) => row.id),
    names: found.map((row) => row.name),
    channels: Int32Array.from(found, (row) => row.channel),
    shards: Int32Array.from(found, (row) => row.shard),
    sessions: found.map((row) => row.session),
    sequences: Float64Array.from(found, (row) => row.sequence),
    receivedAtMs: Float64Array.from(found, (row) => row.received_at),
    lengths: Int32Array.from(found, (row) => row.payload.length),
    bytes,
  }
}

function rangesIn(database: DatabaseSync): SpillRange[] {
  return database
    .prepare(
      `select shard as shardId, session as sessionId, min(sequence) as "from", max(sequence) as "to", count(*) as events
       from events group by shard, session`,
    )
    .all()
    .map((row) => ({ ...(row as unknown as SpillRange) }))
}

function idsIn(database: DatabaseSync, isOwn: boolean): string[] {
  return database
    .prepare('select id from identity where is_own = ? order by id')
    .all(isOwn ? 1 : 0)
    .map((row) => (row as { id: string }).id)
}

function lastIdIn(database: DatabaseSync): number {
  return (database.prepare('select coalesce(max(id), 0) as id from events').get() as { id: number })
    .id
}

type Outcome =
  | { readonly kind: 'open'; readonly database: DatabaseSync; readonly isNew: boolean }
  | { readonly kind: 'held' }
  | { readonly kind: 'foreign'; readonly cause: string }

/** The first file that is free, or new. */
function openFirst(
  folder: string,
  base: string,
  form: string,
  warnings: { path: string; cause: string }[],
): { database: DatabaseSync; path: string; isNew: boolean } {
  for (let number = 0; number < FILES_MAX; number++) {
    const path = join(folder, `${base}.${number}.sqlite`)
    const outcome = openOne(path, form, warnings)
    if (outcome.kind === 'open') {
      return { database: outcome.database, path, isNew: outcome.isNew }
    }
    if (outcome.kind === 'foreign') warnings.push({ path, cause: outcome.cause })
  }
  throw new Error(`${FILES_MAX} files of ${join(folder, base)} are held by other processes`)
}

/** A damaged file is moved aside, and a new one takes its place. */
function openOne(path: string, form: string, warnings: { path: string; cause: string }[]): Outcome {
  try {
    return tryOpen(path, form)
  } catch (error) {
    const code = resultCode(error)
    if (code !== SQLITE_CORRUPT && code !== SQLITE_NOTADB) throw error
    const aside = freeName(`${path}.damaged`)
    renameSync(path, aside)
    for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true })
    warnings.push({ path: aside, cause: 'damaged: moved aside, what lay in it is lost' })
    return tryOpen(path, form)
  }
}

function tryOpen(path: string, form: string): Outcome {
  // A file that may not be written would be opened for reading only, and fail at the first event.
  closeSync(openSync(path, 'a', 0o600))
  const database = new DatabaseSync(path)
  try {
    // Exclusive before WAL: then no shared memory is needed, and the lock is held from here on.
    database.exec('pragma locking_mode = exclusive; pragma auto_vacuum = incremental')
    database.exec('pragma journal_mode = wal; pragma synchronous = full')
    database.exec('begin immediate')
    const version = pragma(database, 'user_version')
    const id = pragma(database, 'application_id')
    if (version === 0 && id === 0) {
      database.exec(SCHEMA)
      database.prepare('insert into spill values (?)').run(form)
      database.exec(
        `pragma application_id = ${APPLICATION_ID}; pragma user_version = ${FORMAT_VERSION}`,
      )
    } else if (id !== APPLICATION_ID || version !== FORMAT_VERSION) {
      database.close()
      return {
        kind: 'foreign',
        cause: `it has version ${version}, this program reads ${FORMAT_VERSION}`,
      }
    }
    database.exec(IDENTITY)
    const isNew = idsIn(database, true).length === 0
    if (isNew) database.prepare('insert into identity values (?, 1)').run(randomUUID())
    database.exec('commit')
    const stored = database.prepare('select form from spill').get() as { form: string }
    if (stored.form !== form) {
      const isEmpty = lastIdIn(database) === 0
      if (!isEmpty) {
        database.close()
        return { kind: 'foreign', cause: `its events were written as ${stored.form}, not ${form}` }
      }
      database.prepare('update spill set form = ?').run(form)
    }
    const check = database.prepare('pragma quick_check(1)').get() as { quick_check: string }
    if (check.quick_check !== 'ok') {
      throw Object.assign(new Error(check.quick_check), { errcode: SQLITE_CORRUPT })
    }
    return { kind: 'open', database, isNew }
  } catch (error) {
    if (database.isOpen) database.close()
    if (resultCode(error) === SQLITE_BUSY) return { kind: 'held' }
    throw error
  }
}

function pragma(database: DatabaseSync, name: string): number {
  return (database.prepare(`pragma ${name}`).get() as Record<string, number>)[name]!
}

/** Takes over what processes that are gone left in files of other numbers. */
function adoptOthers(
  folder: string,
  base: string,
  form: string,
  own: string,
  database: DatabaseSync,
  lastId: number,
  warnings: { path: string; cause: string }[],
): void {
  const pattern = /\.(\d+)\.sqlite$/
  const others = readdirSync(folder)
    .filter((file) => file.startsWith(`${base}.`) && pattern.test(file))
    .filter((file) => file.replace(pattern, '') === base)
    .map((file) => join(folder, file))
    .filter((path) => path !== own && !warnings.some((warning) => warning.path === path))
  const insert = database.prepare('insert into events values (?, ?, ?, ?, ?, ?, ?, ?)')
  let id = lastId
  for (const path of others.sort()) {
    const outcome = openOne(path, form, warnings)
    if (outcome.kind === 'foreign') warnings.push({ path, cause: outcome.cause })
    if (outcome.kind !== 'open') continue
    const other = outcome.database
    for (let from = 0; ; ) {
      const rows = other
        .prepare('select * from events where id > ? order by id limit ?')
        .all(from, ADOPT_ROWS) as unknown as Row[]
      if (rows.length === 0) break
      database.exec('begin immediate')
      for (const row of rows) {
        const { name, channel, shard, session, sequence, received_at, payload } = row
        insert.run(++id, name, channel, shard, session, sequence, received_at, payload)
      }
      database.exec('commit')
      from = rows.at(-1)!.id
      other.prepare('delete from events where id <= ?').run(from)
    }
    const keep = database.prepare('insert or ignore into identity values (?, 0)')
    for (const moved of [...idsIn(other, true), ...idsIn(other, false)]) keep.run(moved)
    other.close()
    removeFile(path)
  }
}

function removeFile(path: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(path + suffix, { force: true })
}

function freeName(path: string): string {
  for (let number = 1; ; number++) {
    const candidate = `${path}-${number}`
    if (!existsSync(candidate)) return candidate
  }
}

/** The primary result code, without what SQLite adds to it. */
function resultCode(error: unknown): number {
  const code = (error as { errcode?: unknown }).errcode
  return typeof code === 'number' ? code & 0xff : 0
}
