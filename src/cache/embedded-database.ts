/**
 * The embedded database: PGlite in a worker thread behind one `pg` client.
 *
 *   data folder/lock   whose process it is
 *   data folder/pg     Postgres' own files
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import pg from 'pg'
import { messageOf } from '../base/index.ts'
import { ClientConnection } from './client-connection.ts'
import type { Connection, Database, DatabaseDeps, EmbeddedOptions } from './database.ts'
import { type DataLock, lockDataFolder } from './data-lock.ts'
import { CacheError } from './errors.ts'
import { EmbeddedStream } from './embedded-stream.ts'
import type { EmbeddedReply, EmbeddedRequest, EmbeddedWorkerData } from './embedded-worker.ts'

/** More would hold the one connection for too long. */
const ROWS_PER_STATEMENT_MAX = 500

export async function openEmbedded(
  options: EmbeddedOptions,
  deps: DatabaseDeps,
): Promise<Database> {
  const lock = takeFolder(options.dataDir)
  let engine: Engine
  try {
    engine = await Engine.start(join(options.dataDir, 'pg'))
  } catch (error) {
    lock.release()
    throw unusable(options.dataDir, error)
  }
  engine.onFailed = (message) => {
    deps.log.error('embedded database failed', { address: options.dataDir, error: message })
  }
  const only = new ClientConnection(() => engine.client(), options.dataDir)
  const connection: Connection = {
    query: (text, values, name) => only.query(text, values, name),
    transaction: (work) => only.transaction(work),
    close: () => Promise.resolve(),
  }
  return {
    kind: 'embedded',
    address: options.dataDir,
    capabilities: {
      connectionsMax: 1,
      hasTimeouts: false,
      rowsPerStatementMax: ROWS_PER_STATEMENT_MAX,
    },
    query: (text, values, name) => only.query(text, values, name),
    async connect(_label, { setup } = {}) {
      // There is one connection: what a lane wants of the planner suits every statement of ours.
      if (setup !== undefined) await only.query(setup)
      return connection
    },
    async close() {
      await only.close()
      await engine.close()
      lock.release()
    },
  }
}

function takeFolder(folder: string): DataLock {
  try {
    mkdirSync(folder, { recursive: true })
    return lockDataFolder(folder)
  } catch (error) {
    throw error instanceof CacheError ? error : unusable(folder, error)
  }
}

function unusable(folder: string, cause: unknown): CacheError {
  return new CacheError(
    'CACHE_DATA_UNUSABLE',
    `The data folder ${folder} cannot be used: ${messageOf(cause)}.`,
    { folder },
    { cause },
  )
}

/** The worker and the stream that is connected to it. */
class Engine {
  onFailed: (message: string) => void = () => undefined
  readonly #worker: Worker
  #stream: EmbeddedStream | null = null
  #onClosed: () => void = () => undefined

  private constructor(worker: Worker) {
    this.#worker = worker
  }

  static start(dataDir: string): Promise<Engine> {
    // The worker is the file beside this one, .ts from source and .js when compiled.
    const url = new URL(
      import.meta.url.endsWith('.ts') ? 'embedded-worker.ts' : 'embedded-worker.js',
      import.meta.url,
    )
    const workerData: EmbeddedWorkerData = { dataDir }
    const worker = new Worker(url, { workerData, name: 'embedded database' })
    const engine = new Engine(worker)
    return new Promise((resolve, reject) => {
      worker.on('message', (reply: EmbeddedReply) => {
        if (reply.kind === 'ready') resolve(engine)
        else if (reply.kind === 'bytes') engine.#stream?.receive(reply.bytes)
        else if (reply.kind === 'closed') engine.#onClosed()
        else {
          reject(new Error(reply.message))
          engine.#fail(reply.message)
        }
      })
      worker.on('error', (error) => {
        reject(error)
        engine.#fail(messageOf(error))
      })
      worker.on('exit', () => {
        reject(new Error('its thread ended'))
        engine.#onClosed()
        engine.#stream?.destroy()
      })
    })
  }

  client(): pg.Client {
    const stream = new EmbeddedStream((bytes) => {
      this.#post({ kind: 'bytes', bytes }, [bytes.buffer as ArrayBuffer])
    })
    this.#stream = stream
    return new pg.Client({
      stream: () => stream,
      user: 'postgres',
      database: 'postgres',
      pipeline: true,
    } as unknown as pg.ClientConfig)
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#onClosed = resolve
    })
    this.#post({ kind: 'close' })
    await closed
    await this.#worker.terminate()
  }

  #post(request: EmbeddedRequest, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(request, transfer)
  }

  #fail(message: string): void {
    this.onFailed(message)
    this.#stream?.destroy(new Error(message))
  }
}
