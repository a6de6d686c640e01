/**
 * Commands for one connection, in order, held back by the send limiter. Heartbeats do not pass here.
 */
import type { Clock, Timer } from '../base/index.ts'
import { ShardError } from './errors.ts'
import type { SendLimiter } from './send-limiter.ts'

/** Two windows of Discord's limit: more is a caller that does not listen. */
const COMMANDS_WAITING_MAX = 240

interface Command {
  readonly payload: Buffer
  readonly resolve: () => void
  readonly reject: (error: ShardError) => void
}

export class CommandQueue {
  readonly #clock: Clock
  readonly #limiter: SendLimiter
  readonly #write: (payload: Buffer) => void
  readonly #waiting: Command[] = []
  #timer: Timer | undefined

  constructor(clock: Clock, limiter: SendLimiter, write: (payload: Buffer) => void) {
    this.#clock = clock
    this.#limiter = limiter
    this.#write = write
  }

  /**
   * @returns when the command was handed to the socket.
   * @throws ShardError SHARD_SEND_QUEUE_FULL, SHARD_NOT_READY when the connection ends before.
   */
  push(payload: Buffer): Promise<void> {
    if (this.#waiting.length >= COMMANDS_WAITING_MAX) {
      const message = `${this.#waiting.length} commands already wait for this shard. Send fewer.`
      throw new ShardError('SHARD_SEND_QUEUE_FULL', message, {}, { retryable: true })
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ payload, resolve, reject })
      this.#drain()
    })
  }

  /** The connection has ended: what waits will not be sent. */
  fail(): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
    for (const command of this.#waiting.splice(0)) command.reject(notReady())
  }

  #drain(): void {
    if (this.#timer !== undefined) return
    while (this.#waiting.length > 0) {
      const waitMs = this.#limiter.waitMs()
      if (waitMs > 0) {
        this.#timer = this.#clock.setTimeout(() => {
          this.#timer = undefined
          this.#drain()
        }, waitMs)
        return
      }
      const command = this.#waiting.shift()!
      this.#limiter.record()
      this.#write(command.payload)
      command.resolve()
    }
  }
}

export function notReady(): ShardError {
  const message = 'The shard has no session at the moment. Try again when it is ready.'
  return new ShardError('SHARD_NOT_READY', message, {}, { retryable: true })
}
