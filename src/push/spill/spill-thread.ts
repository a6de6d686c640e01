import { Worker } from 'node:worker_threads'
import type { SpillAnswers, SpillRequest } from './spill-rows.ts'
import type { SpillMessage, SpillReply } from './spill-worker.ts'

interface Open {
  readonly resolve: (answer: never) => void
  readonly reject: (error: Error) => void
}

/** The thread that reads and writes the spills of this process; requests of all are answered in order. */
export class SpillThread {
  #worker: Worker | undefined
  readonly #open = new Map<number, Open>()
  #nextId = 0
  #nextSpill = 0
  #failure: Error | null = null

  /** A number for a spill of this process. */
  number(): number {
    return this.#nextSpill++
  }

  request<K extends SpillRequest['kind']>(
    spill: number,
    request: Extract<SpillRequest, { kind: K }>,
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<SpillAnswers[K]> {
    if (this.#failure !== null) return Promise.reject(this.#failure)
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#open.set(id, { resolve, reject })
      const worker = (this.#worker ??= this.#start())
      worker.ref()
      worker.postMessage({ id, spill, request } satisfies SpillMessage, [...transfer])
    })
  }

  async close(): Promise<void> {
    this.#failure ??= new Error('the thread was closed')
    await this.#worker?.terminate()
  }

  #start(): Worker {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
    const worker = new Worker(new URL(`./spill-worker.${extension}`, import.meta.url), {
      name: 'spill',
      // node:sqlite is a release candidate in Node 24 and says so; what it says is not for an operator.
      execArgv: ['--disable-warning=ExperimentalWarning'],
    })
    worker.on('message', (reply: SpillReply) => {
      const open = this.#open.get(reply.id)
      this.#open.delete(reply.id)
      // It keeps nobody from ending.
      if (this.#open.size === 0) worker.unref()
      if ('error' in reply)
        open?.reject(Object.assign(new Error(reply.error), { code: reply.code }))
      else open?.resolve(reply.answer as never)
    })
    worker.on('error', (error) => this.#fail(error as Error))
    worker.on('exit', () => this.#fail(new Error('the thread has ended')))
    return worker
  }

  #fail(error: Error): void {
    this.#failure ??= error
    for (const { reject } of this.#open.values()) reject(this.#failure)
    this.#open.clear()
  }
}
