/**
 * Two other ways to write the same rows: what Postgres itself can take, and one statement of literals per event and
 * table, as the ancestor and most bots do it.
 */
import pg from 'pg'
import { arrayOf, type RecordedRows, type RecordedTransaction } from './recorder.ts'

/** Statements on their way at a time on a connection. */
const PIPELINE_MAX = 4
const LITERAL_CONNECTIONS = 8

interface Prepared {
  readonly name: string
  readonly text: string
  readonly values: readonly Buffer[]
}

/** The ceiling: bare upserts of prepared binary arrays, the transactions and connections being those of the cache. */
export class BareUpserts {
  readonly #clients: readonly pg.Client[]

  private constructor(clients: readonly pg.Client[]) {
    this.#clients = clients
  }

  static async open(url: string, lanes: number): Promise<BareUpserts> {
    return new BareUpserts(await connect(url, lanes))
  }

  static prepare(lanes: readonly (readonly RecordedTransaction[])[]): Prepared[][][] {
    return lanes.map((lane) =>
      lane.filter((rows) => rows.length > 0).map((rows) => rows.map(prepared)),
    )
  }

  async write(lanes: readonly (readonly (readonly Prepared[])[])[]): Promise<void> {
    await Promise.all(
      lanes.map(async (transactions, lane) => {
        const client = this.#clients[lane]!
        for (const statements of transactions) {
          const pending: Promise<unknown>[] = [client.query('begin')]
          for (const { name, text, values } of statements) {
            pending.push(client.query({ name, text, values: [...values] }))
            if (pending.length > PIPELINE_MAX) await pending.shift()
          }
          pending.push(client.query('commit'))
          await Promise.all(pending)
        }
      }),
    )
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.end()))
  }
}

/** One statement per event and table, its rows as literals; a connection waits for each. */
export class Literals {
  readonly #clients: readonly pg.Client[]

  private constructor(clients: readonly pg.Client[]) {
    this.#clients = clients
  }

  static async open(url: string): Promise<Literals> {
    return new Literals(await connect(url, LITERAL_CONNECTIONS))
  }

  /** @param events  the rows of each event. */
  async write(events: readonly RecordedTransaction[]): Promise<void> {
    let next = 0
    await Promise.all(
      this.#clients.map(async (client) => {
        for (let event = events[next++]; event !== undefined; event = events[next++]) {
          for (const rows of event) await client.query(literal(rows))
        }
      }),
    )
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.end()))
  }
}

async function connect(url: string, count: number): Promise<pg.Client[]> {
  const clients = Array.from({ length: count }, () => new pg.Client({ connectionString: url }))
  await Promise.all(clients.map((client) => client.connect()))
  return clients
}

function prepared(rows: RecordedRows): Prepared {
  const { table, columns, isMerged, elements, oids } = rows
  const select = columns.map((column, index) =>
    index < columns.length - 1 && index >= rows.key.length && table === 'threads'
      ? `nullif(${column}, 0)`
      : column,
  )
  const arrays = columns.map((column, index) =>
    column === 'data' ? `$${index + 1}::jsonb[]` : `$${index + 1}::int8[]`,
  )
  return {
    name: `bare_${table}_${isMerged ? 'merge' : 'put'}`,
    text: `insert into ${table} as t (${columns.join(', ')}) select ${select.join(', ')}
from unnest(${arrays.join(', ')}) as i (${columns.join(', ')}) ${onConflict(rows)}`,
    values: elements.map((column, index) => arrayOf(column, oids[index]!)),
  }
}

function literal(rows: RecordedRows): string {
  const { table, columns, elements } = rows
  const count = elements[0]!.length
  const tuples: string[] = []
  for (let row = 0; row < count; row++) {
    const values = columns.map((column, index) => {
      const element = elements[index]![row]!
      if (column !== 'data') return String(element.readBigInt64BE(4))
      // Behind the length and the version of jsonb. A backslash stands for itself in a standard string.
      return `'${element.toString('utf8', 5).replaceAll("'", "''")}'`
    })
    tuples.push(`(${values.join(',')})`)
  }
  return `insert into ${table} as t (${columns.join(', ')}) values ${tuples.join(',')} ${onConflict(rows)}`
}

function onConflict({ columns, key, isMerged }: RecordedRows): string {
  const others = columns.filter((column) => !key.includes(column))
  const sets = others.map((column) =>
    column === 'data' && isMerged
      ? 'data = t.data || excluded.data'
      : `${column} = excluded.${column}`,
  )
  return `on conflict (${key.join(', ')}) do update set ${sets.join(', ')}`
}
