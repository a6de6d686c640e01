/** Writes down the rows that a cache sends, by transaction, so that rivals can send the very same. */
import type { Database } from '../../src/cache/index.ts'

type Connection = Awaited<ReturnType<Database['connect']>>
type Transaction = Parameters<Parameters<Connection['transaction']>[0]>[0]

/** Rows of one statement, as slices of its binary arrays: each with its length before it. */
export interface RecordedRows {
  readonly table: string
  readonly columns: readonly string[]
  readonly key: readonly string[]
  /** The rows are merged into stored objects. */
  readonly isMerged: boolean
  /** Column → element slices; `data` last. */
  readonly elements: readonly (readonly Buffer[])[]
  readonly oids: readonly number[]
}

export type RecordedTransaction = readonly RecordedRows[]

const HEADER_BYTES = 20
const DELETE = 0x44
const MERGE = 0x4d
const SHAPES: Readonly<Record<string, { columns: readonly string[]; keyCount: number }>> = {
  guilds: { columns: ['id', 'count_sequence'], keyCount: 1 },
  members: { columns: ['guild_id', 'user_id'], keyCount: 2 },
  bans: { columns: ['guild_id', 'user_id'], keyCount: 2 },
  voice_states: { columns: ['guild_id', 'user_id'], keyCount: 2 },
  presence: { columns: ['user_id', 'guild_id'], keyCount: 2 },
  threads: { columns: ['id', 'guild_id', 'owner_id', 'parent_id'], keyCount: 1 },
}
const BY_ID = { columns: ['id', 'guild_id'], keyCount: 2 }

/** A database that hands everything on and keeps what was written through each of its connections. */
export class Recorder {
  /** By connection, in their order. */
  readonly lanes: RecordedTransaction[][] = []

  wrap(database: Database): Database {
    const { kind, capabilities, address } = database
    return {
      kind,
      capabilities,
      address,
      query: (...statement) => database.query(...statement),
      connect: async (label, options) => {
        const connection = await database.connect(label, options)
        if (!label.startsWith('lane')) return connection
        const lane: RecordedTransaction[] = []
        this.lanes.push(lane)
        return recording(connection, lane)
      },
      close: () => database.close(),
    }
  }

  /** What was recorded since the last call. */
  take(): RecordedTransaction[][] {
    return this.lanes.map((lane) => lane.splice(0))
  }
}

/** A database that says yes to everything at once: whoever writes to it only makes the statements. */
export function yesDatabase(fence: { epoch: number; revision: number }, shards: number): Database {
  const fences = Array.from({ length: shards }, (_, shard) => ({ shard, ...fence }))
  const tx: Transaction = {
    query: <Row>(text: string) =>
      Promise.resolve((text.includes('fence_epoch as epoch') ? fences : []) as Row[]),
    change: () => Promise.resolve(0),
  }
  return {
    ...tx,
    kind: 'postgres',
    capabilities: { connectionsMax: 8, hasTimeouts: true, rowsPerStatementMax: 1000 },
    address: 'nowhere',
    connect: () =>
      Promise.resolve({ ...tx, transaction: (work) => work(tx), close: () => Promise.resolve() }),
    close: () => Promise.resolve(),
  }
}

function recording(connection: Connection, lane: RecordedTransaction[]): Connection {
  return {
    query: (...statement) => connection.query(...statement),
    transaction: (work) =>
      connection.transaction(async (tx) => {
        const rows: RecordedRows[] = []
        lane.push(rows)
        return work({
          query: (...statement) => tx.query(...statement),
          change(text, values, name) {
            const table = /^gateway_write_(\w+)$/.exec(name)?.[1]
            if (table !== undefined) {
              const recorded = rowsOf(table, values as Buffer[])
              if (recorded.elements[0]!.length > 0) rows.push(recorded)
            }
            return tx.change(text, values, name)
          },
        })
      }),
    close: () => connection.close(),
  }
}

function rowsOf(table: string, values: readonly Buffer[]): RecordedRows {
  const { columns, keyCount } = SHAPES[table] ?? BY_ID
  const changes = elementsOf(values[0]!).map((element) => element[4])
  // A guild's parameter behind its two ids says which of its lists are whole.
  const dataAt = table === 'guilds' ? 4 : columns.length + 1
  const arrays = [...columns.map((_, index) => values[index + 1]!), values[dataAt]!]
  return {
    table,
    columns: [...columns, 'data'],
    key: columns.slice(0, keyCount),
    isMerged: changes.includes(MERGE),
    elements: arrays.map((array) => elementsOf(array).filter((_, row) => changes[row] !== DELETE)),
    oids: arrays.map((array) => array.readUInt32BE(8)),
  }
}

/** The elements of a one-dimensional array in Postgres' binary form. */
function elementsOf(array: Buffer): Buffer[] {
  const elements: Buffer[] = []
  for (let pos = HEADER_BYTES; pos < array.length; ) {
    const bytes = 4 + Math.max(0, array.readInt32BE(pos))
    elements.push(Buffer.from(array.subarray(pos, pos + bytes)))
    pos += bytes
  }
  return elements
}

export function arrayOf(elements: readonly Buffer[], oid: number): Buffer {
  const head = Buffer.alloc(HEADER_BYTES)
  head.writeInt32BE(1, 0)
  head.writeInt32BE(1, 4)
  head.writeUInt32BE(oid, 8)
  head.writeInt32BE(elements.length, 12)
  head.writeInt32BE(1, 16)
  return Buffer.concat([head, ...elements])
}
