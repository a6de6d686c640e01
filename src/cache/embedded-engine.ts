import { Worker } from 'node:worker_threads'
import pg from 'pg'
import { messageOf } from '../base/index.ts'
import { CacheError } from './errors.ts'
import { EmbeddedStream } from './embedded-stream.ts'
import type { EmbeddedReply, EmbeddedRequest, EmbeddedWorkerData } from './embedded-worker.ts'

/** The worker and the stream that is connected to it. */
export class EmbeddedEngine {
  onFailed: (message: string) => void = () => undefined
  readonly #worker: Worker
  #stream: EmbeddedStream | null = null
  #onClosed: () => void = () => undefined
  #hasEnded = false

  private constructor(worker: Worker) {
    this.#worker = worker
  }

  static start(dataDir: string): Promise<EmbeddedEngine> {
    // The worker is the file beside this one, .ts from source and .js when compiled.
    const url = new URL(
      import.meta.url.endsWith('.ts') ? 'embedded-worker.ts' : 'embedded-worker.js',
      import.meta.url,
    )
    const workerData: EmbeddedWorkerData = { dataDir }
    const worker = new Worker(url, { workerData, name: 'embedded database' })
    const engine = new EmbeddedEngine(worker)
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
        engine.#hasEnded = true
        engine.#onClosed()
        engine.#stream?.destroy()
      })
    })
  }

  /** @throws CacheError CACHE_DATA_UNUSABLE when the thread has ended: only a restart brings it back. */
  client(): pg.Client {
    if (this.#hasEnded) {
      throw new CacheError(
        'CACHE_DATA_UNUSABLE',
        'The thread of the embedded database has ended. Restart the program; what was committed is there.',
      )
    }
    const stream = new EmbeddedStream((bytes, ends) => {
      this.#post({ kind: 'bytes', bytes, ends }, [bytes.buffer])
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
    if (!this.#hasEnded) await closed
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
