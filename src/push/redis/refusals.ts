import type { Clock, Log } from '../../base/index.ts'

/** What an operator should do about an error answer; the queue tries again in every case. */
const CURES: Readonly<Record<string, string>> = {
  OOM: 'Redis has reached maxmemory: let the consumers catch up, or raise it.',
  READONLY: 'The server is a replica: give the address of the master.',
  LOADING: 'Redis is loading its data; this ends by itself.',
  MOVED: 'The server is a node of a Redis Cluster and does not hold this key: give a single Redis.',
  NOAUTH: 'The server asks for a password: write it into the address.',
  NOPERM:
    'The Redis user may not write to this key (RPUSH for lists; MULTI, XADD, XLEN and EXEC for streams; for marks see docs/consumers.md): extend its ACL.',
  WRONGTYPE:
    'The key exists and is of another type: delete or rename it, or choose another prefix.',
  MISCONF: 'Redis cannot write its data to disk and refuses writes: look at its disk and log.',
  MASTERDOWN: 'The server is a replica that has lost its master.',
  CLUSTERDOWN: 'The Redis Cluster does not serve the key.',
}

interface OpenRefusal {
  readonly keys: Set<string>
  readonly sinceMs: number
  retries: number
}

/** One line when Redis begins to refuse keys with an error, one when it takes them again; by error code. */
export class Refusals {
  readonly #log: Log
  readonly #clock: Clock
  readonly #open = new Map<string, OpenRefusal>()
  readonly #codes = new Map<string, string>()

  constructor(deps: { readonly log: Log; readonly clock: Clock }) {
    this.#log = deps.log
    this.#clock = deps.clock
  }

  refused(key: string, message: string): void {
    const code = refusalCode(message)
    const before = this.#codes.get(key)
    if (before !== code) {
      if (before !== undefined) this.#leave(key, before)
      this.#codes.set(key, code)
    }
    let refusal = this.#open.get(code)
    if (refusal === undefined) {
      refusal = { keys: new Set(), sinceMs: this.#clock.monotonic(), retries: 0 }
      this.#open.set(code, refusal)
      this.#log.error('redis: refuses events, trying again', {
        code,
        key,
        answer: message,
        cure: CURES[code] ?? 'See the answer of the server.',
      })
    }
    refusal.keys.add(key)
    refusal.retries++
  }

  accepted(key: string): void {
    const code = this.#codes.get(key)
    if (code === undefined) return
    this.#codes.delete(key)
    this.#leave(key, code)
  }

  #leave(key: string, code: string): void {
    const refusal = this.#open.get(code)
    if (refusal === undefined) return
    refusal.keys.delete(key)
    if (refusal.keys.size > 0) return
    this.#open.delete(code)
    this.#log.info('redis: takes events again', {
      code,
      refusedMs: Math.round(this.#clock.monotonic() - refusal.sinceMs),
      retries: refusal.retries,
    })
  }
}

/** The first word of an error answer: OOM, READONLY, WRONGTYPE …, or ERR; of an error of ours its code. */
export function refusalCode(message: string): string {
  return /^[A-Z_]+/.exec(message)?.[0] ?? 'ERR'
}
