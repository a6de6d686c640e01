/**
 * How much is read in one turn of the event loop. libuv reads up to 32 × 64 KiB from a socket before it looks
 * at the next one (uv__stream_io, uv__read), and every byte is inflated and delivered at once: when thousands
 * of guilds arrive together, timers (heartbeats, other shards' deadlines) would wait for a second and more.
 *
 *   turn   │ waiting sockets, oldest first │ sockets that have something │ timers │
 *          └──────── TURN_MS in all: what comes later is copied, its socket paused, and waits ┘
 *
 * Little traffic never pays: a turn is timed only from TURN_BYTES on.
 */
import type { Clock } from '../../base/index.ts'

/** Reading goes on in a turn until so much time has passed; one more read may be under way then. */
const TURN_MS = 8
/** From so many bytes on time is looked at; below it they take a millisecond or two. */
const TURN_BYTES = 16 * 1024

/** A socket that waits; called once for each wait(). */
export interface WaitingSocket {
  goOn(): void
}

export class ReadTurns {
  readonly #clock: Clock
  readonly #waiting: WaitingSocket[] = []
  /** Read since the last turn that was timed, in bytes. */
  #bytes = 0
  #isTimed = false
  #endsAt = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether bytes that have come may be read now. If not, the socket keeps them and calls wait(). */
  mayRead(byteCount: number): boolean {
    if (this.#isTimed) return this.#clock.monotonic() < this.#endsAt
    this.#bytes += byteCount
    if (this.#bytes >= TURN_BYTES) this.#time()
    return true
  }

  /** The socket goes on in a later turn, behind those that wait already. */
  wait(socket: WaitingSocket): void {
    this.#waiting.push(socket)
  }

  #time(): void {
    this.#isTimed = true
    this.#bytes = 0
    this.#endsAt = this.#clock.monotonic() + TURN_MS
    setImmediate(this.#onNextTurn)
  }

  readonly #onNextTurn = (): void => {
    this.#isTimed = false
    if (this.#waiting.length === 0) return
    this.#time()
    let done = 0
    try {
      do this.#waiting[done++]!.goOn()
      while (done < this.#waiting.length && this.#clock.monotonic() < this.#endsAt)
    } finally {
      this.#waiting.splice(0, done)
    }
  }
}
