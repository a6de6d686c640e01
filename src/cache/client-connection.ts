/**
 * A connection that comes back: one pipelined pg client, opened when first used and again after it broke.
 */
import pg from 'pg'
import { redactUrl } from '../base/index.ts'
import type { Connection, Queryable } from './database.ts'
import { CacheError } from './errors.ts'
import { Turns } from './turns.ts'

export type MakeClient = () => pg.Client

/** SQLSTATEs of a login that will never succeed: see PostgreSQL Appendix A, classes 28 and 3D. */
const REFUSED = /^(28|3D)/
/** Class 08 connection exception, 57P01..57P05 shutdown, 25P03 idle in transaction, 53300 too many connections. */
const LOST = /^(08|57P0|25P03|53300)/

export class ClientConnection implements Connection {
  readonly #makeClient: MakeClient
  readonly #address: string
  readonly #setup: string
  readonly #turns = new Turns()
  #client: pg.Client | null = null
  #opening: Promise<pg.Client> | null = null
  #isClosed = false

  /** @param setup statements that run each time it opens. */
  constructor(makeClient: MakeClient, address: string, setup = '') {
    this.#makeClient = makeClient
    this.#address = address
    this.#setup = setup
  }

  query<Row>(text: string, values?: readonly unknown[], name?: string): Promise<Row[]> {
    return this.#turns.share(async () => {
      const client = this.#client ?? (await this.#open())
      return await run<Row>(client, this.#address, text, values, name)
    })
  }

  transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    return this.#turns.take(() => this.#transaction(work))
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const client = this.#client ?? (await this.#opening?.catch(() => null)) ?? null
    this.#client = null
    await client?.end().catch(() => undefined)
  }

  async #transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    const client = this.#client ?? (await this.#open())
    const address = this.#address
    const tx: Queryable = {
      query: (text, values, name) => run(client, address, text, values, name),
    }
    const begun = tx.query('begin')
    begun.catch(() => undefined)
    try {
      const result = await work(tx)
      await begun
      await tx.query('commit')
      return result
    } catch (error) {
      // A client that broke has nothing to roll back: the server does it by itself.
      await tx.query('rollback').catch(() => undefined)
      throw error
    }
  }

  #open(): Promise<pg.Client> {
    if (this.#isClosed) {
      throw new CacheError('CACHE_CLOSED', 'The database connection was closed.', {
        address: this.#address,
      })
    }
    this.#opening ??= this.#openOnce().finally(() => {
      this.#opening = null
    })
    return this.#opening
  }

  async #openOnce(): Promise<pg.Client> {
    const client = this.#makeClient()
    const forget = (): void => {
      if (this.#client === client) this.#client = null
    }
    // Errors reach the statements in flight as well; without a listener they would end the process.
    client.on('error', forget)
    client.on('end', forget)
    try {
      await client.connect()
      if (this.#setup !== '') await client.query(this.#setup)
    } catch (error) {
      client.end().catch(() => undefined)
      throw connectError(error, this.#address)
    }
    this.#client = client
    return client
  }
}

async function run<Row>(
  client: pg.Client,
  address: string,
  text: string,
  values?: readonly unknown[],
  name?: string,
): Promise<Row[]> {
  try {
    const config: pg.QueryConfig = { text }
    if (values !== undefined) config.values = values as unknown[]
    if (name !== undefined) config.name = name
    const result = await client.query(config)
    return result.rows as Row[]
  } catch (error) {
    throw statementError(error, address)
  }
}

/** Postgres' own errors stay as they are; everything else means that the connection broke. */
export function statementError(error: unknown, address: string): unknown {
  const code = error instanceof pg.DatabaseError ? (error.code ?? '') : null
  if (code !== null && !LOST.test(code)) return error
  return new CacheError(
    'CACHE_CONNECTION_LOST',
    `The connection to ${address} was lost; it is opened again.`,
    { address },
    { cause: error, retryable: true },
  )
}

export function connectError(error: unknown, address: string): CacheError {
  const code = error instanceof pg.DatabaseError ? (error.code ?? '') : ''
  if (REFUSED.test(code)) {
    return new CacheError(
      'CACHE_REFUSED',
      `Postgres at ${address} refused the login: ${(error as Error).message}. Correct -psql.`,
      { address },
      { cause: error },
    )
  }
  return new CacheError(
    'CACHE_UNREACHABLE',
    `Postgres at ${address} cannot be reached (${causeOf(error)}). Is it running, and is the address right?`,
    { address },
    { cause: error, retryable: true },
  )
}

function causeOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(causeOf).join('; ')
  return error instanceof Error ? redactUrl(error.message) : String(error)
}
