/**
 * The thread in which PGlite runs: bytes of Postgres' wire protocol in, bytes out, so that its work
 * never stalls the event loop that reads sockets. Entered by `new Worker` only.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { PGlite } from '@electric-sql/pglite'
import { messageOf } from '../base/index.ts'

export interface EmbeddedWorkerData {
  readonly dataDir: string
}

/** From the worker: it is open, it cannot be opened, the answer to one request, or it is closed. */
export type EmbeddedReply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'closed' }

/** To the worker: groups of protocol messages with where each ends, or the order to close. */
export type EmbeddedRequest =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array; readonly ends: readonly number[] }
  | { readonly kind: 'close' }

async function main(): Promise<void> {
  const port = parentPort
  if (port === null) return
  const { dataDir } = workerData as EmbeddedWorkerData
  const reply = (message: EmbeddedReply, transfer: ArrayBuffer[] = []): void =>
    port.postMessage(message, transfer)
  let database: PGlite
  try {
    // Strict: a statement answers after its bytes were handed to the file system, so a kill -9 loses nothing.
    database = await PGlite.create({ dataDir, relaxedDurability: false })
  } catch (error) {
    reply({ kind: 'failed', message: messageOf(error) })
    return
  }
  let turn = Promise.resolve()
  port.on('message', (request: EmbeddedRequest) => {
    turn = turn
      .then(() => handle(request))
      .catch((error: unknown) => {
        reply({ kind: 'failed', message: messageOf(error) })
      })
  })
  reply({ kind: 'ready' })

  async function handle(request: EmbeddedRequest): Promise<void> {
    if (request.kind === 'close') {
      await database.close()
      reply({ kind: 'closed' })
      port?.close()
      return
    }
    let start = 0
    for (const end of request.ends) {
      const answer = await database.execProtocolRaw(request.bytes.subarray(start, end))
      start = end
      // The answer may be a view of WebAssembly memory: copied before it is handed over.
      const bytes = answer.slice()
      reply({ kind: 'bytes', bytes }, [bytes.buffer])
    }
  }
}

await main()
