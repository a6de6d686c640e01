/**
 * A connection that comes back: one pipelined pg client, opened when first used and again after it broke.
 */
import type { Duplex } from 'node:stream'
import pg from 'pg'
import { redactUrl } from '../base/index.ts'
import type { Connection, Transaction } from './database.ts'
import { CacheError } from './errors.ts'
import { Turns } from './turns.ts'

export type MakeClient = () => pg.Client

export interface ClientConnectionOptions {
  /** Statements that run each time it opens. */
  readonly setup?: string | undefined
  /** Called when a statement was not answered within the client's query_timeout and the client was given up. */
  readonly onSilent?: (text: string) => void
}

/** What pg says when its query_timeout has passed; it has no code. */
const SILENT = 'Query read timeout'
/** SQLSTATEs of a login that will never succeed: see PostgreSQL Appendix A, classes 28 and 3D. */
const REFUSED = /^(28|3D)/
/** Class 08 connection exception, 57P01..57P05 shutdown, 25P03 idle in transaction, 53300 too many connections. */
const LOST = /^(08|57P0|25P03|53300)/

export class ClientConnection implements Connection {
  readonly #makeClient: MakeClient
  readonly #address: string
  readonly #setup: string
  readonly #onSilent: (text: string) => void
  readonly #turns = new Turns()
  #client: pg.Client | null = null
  #opening: Promise<pg.Client> | null = null
  #openingClient: pg.Client | null = null
  #isClosed = false
  /** Statements without an answer yet. */
  #pending = 0

  constructor(makeClient: MakeClient, address: string, options: ClientConnectionOptions = {}) {
    this.#makeClient = makeClient
    this.#address = address
    this.#setup = options.setup ?? ''
    this.#onSilent = options.onSilent ?? (() => undefined)
  }

  query<Row>(text: string, values?: readonly unknown[], name?: string): Promise<Row[]> {
    return this.#turns.share(async () => {
      const client = this.#client ?? (await this.#open())
      return (await this.#run(client, text, values, name)).rows as Row[]
    })
  }

  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.#turns.take(() => this.#transaction(work))
  }

  /** Ends it politely when nothing is on its way, else at once. Never waits for a server that is stuck. */
  async close(): Promise<void> {
    this.#isClosed = true
    if (this.#openingClient !== null) streamOf(this.#openingClient).destroy()
    const client = this.#client ?? (await this.#opening?.catch(() => null)) ?? null
    this.#client = null
    if (client === null) return
    const stream = streamOf(client)
    if (this.#pending > 0) stream.destroy()
    else stream.once('finish', () => stream.destroy())
    await client.end().catch(() => undefined)
  }

  async #transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    const client = this.#client ?? (await this.#open())
    let failure: { readonly error: unknown } | null = null
    const issue = async (
      text: string,
      values?: readonly unknown[],
      name?: string,
    ): Promise<pg.QueryResult> => {
      try {
        return await this.#run(client, text, values, name)
      } catch (error) {
        failure ??= { error }
        throw error
      }
    }
    issue('begin').catch(() => undefined)
    try {
      const result = await work({
        query: <Row>(text: string, values?: readonly unknown[], name?: string) =>
          unwatched(issue(text, values, name).then(({ rows }) => rows as Row[])),
        change: (text, values, name) =>
          unwatched(issue(text, values, name).then(({ rowCount }) => rowCount ?? 0)),
      })
      // Behind the statements that are still on their way: Postgres rolls back if one of them fails, and says so.
      const { command } = await this.#run(client, 'commit')
      if (command === 'COMMIT') return result
      throw (failure as { readonly error: unknown } | null)?.error ?? new Error('rolled back')
    } catch (error) {
      // A client that broke has nothing to roll back: the server does it by itself.
      if (this.#client === client) await this.#run(client, 'rollback').catch(() => undefined)
      throw error
    }
  }

  /** Statements of one turn of the event loop leave in one packet: a system call costs more than a statement. */
  async #run(
    client: pg.Client,
    text: string,
    values?: readonly unknown[],
    name?: string,
  ): Promise<pg.QueryResult> {
    const config: pg.QueryConfig = { text }
    if (values !== undefined) config.values = values as unknown[]
    if (name !== undefined) config.name = name
    const stream = streamOf(client)
    stream.cork()
    process.nextTick(() => stream.uncork())
    this.#pending++
    try {
      return await client.query(config)
    } catch (error) {
      if (isSilence(error)) this.#giveUp(client, text)
      throw statementError(error, this.#address)
    } finally {
      this.#pending--
    }
  }

  /** A black hole (a dead host, a firewall that forgot the connection) never answers and never says so. */
  #giveUp(client: pg.Client, text: string): void {
    if (this.#client !== client) return
    this.#client = null
    streamOf(client).destroy()
    this.#onSilent(text)
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
    this.#openingClient = client
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
    } finally {
      this.#openingClient = null
    }
    this.#client = client
    return client
  }
}

/** Whoever does not wait for the statement learns of its failure by the COMMIT. */
function unwatched<T>(issued: Promise<T>): Promise<T> {
  issued.catch(() => undefined)
  return issued
}

/** The socket, which pg keeps to itself. Since pg 8; there is no public way to cork it. */
function streamOf(client: pg.Client): Duplex {
  return (client as unknown as { readonly connection: { readonly stream: Duplex } }).connection
    .stream
}

/** Whether pg gave up waiting for an answer. */
export function isSilence(error: unknown): boolean {
  return error instanceof Error && error.message === SILENT
}

/** Postgres' own errors stay as they are; everything else means that the connection broke. */
export function statementError(error: unknown, address: string): unknown {
  const code = error instanceof pg.DatabaseError ? (error.code ?? '') : null
  if (code !== null && !LOST.test(code)) return error
  return new CacheError(
    'CACHE_CONNECTION_LOST',
    isSilence(error)
      ? `Postgres at ${address} did not answer a statement in time; the connection was broken off and is opened again.`
      : `The connection to ${address} was lost; it is opened again.`,
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
