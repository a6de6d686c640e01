/**
 * Everything that one shard sends to Discord but IDENTIFY, RESUME and heartbeats, held back by Discord's limits.
 *
 *   presence ─ 1 waits, the newest ─ 5 in 20 s ──────┐
 *   direct   ─ op 4, 31, 43 ─────────────────────────┤   first lane    120 in 60 s, with the
 *   members  ─ op 8 that somebody waits for ─────────┼── whose head ─► heartbeats' reserve ──► socket
 *   fill     ─ op 8 of our own, half of the rate ────┘   may go
 *
 * A command waits through a reconnect, but not through more than NOT_READY_MS_MAX without a session.
 * See [Discord Docs/Gateway#rate-limiting].
 */
import type { Clock, Timer } from '../../base/index.ts'
import {
  PRESENCE_UPDATES_MAX,
  PRESENCE_WINDOW_MS,
  SEND_EVENTS_MAX,
  SEND_WINDOW_MS,
} from '../../discord/index.ts'
import { ShardError } from '../errors.ts'
import type { SendLimiter } from './send-limiter.ts'
import { Window } from './window.ts'

export const LANES = ['presence', 'direct', 'members', 'fill'] as const
export type Lane = (typeof LANES)[number]

export interface Command {
  readonly lane: Lane
  readonly op: number
  readonly d: unknown
  /** A limit of its own: ms until it may go. Those behind it do not wait for it. */
  readonly waitMs?: () => number
  /** Called in the tick in which it was handed to the socket. */
  readonly onSent?: () => void
}

/** What became of a command when it was handed in. */
export interface Ticket {
  /** Its place in its lane, 1 = next; 0: it was sent at once. */
  readonly position: number
  /** ms until it can be sent at the earliest, as far as limits tell. */
  readonly waitMs: number
  /** Settles when it was handed to the socket; rejects with a ShardError when it will not be. */
  readonly sent: Promise<void>
  /** Takes it back, if it still waits: `sent` rejects with SHARD_COMMAND_WITHDRAWN. */
  withdraw(): void
}

interface Waiting {
  readonly command: Command
  readonly resolve: () => void
  readonly reject: (error: ShardError) => void
}

/** Commands of one lane that wait. Two windows of Discord's limit: more is a caller that does not listen. */
const WAITING_MAX = 240
/** Without a session for longer, a command is refused: who sent it has something better to do. */
const NOT_READY_MS_MAX = 60_000

export class CommandScheduler {
  readonly #clock: Clock
  readonly #limiter: SendLimiter
  readonly #write: (op: number, d: unknown) => void
  readonly #lanes: Readonly<Record<Lane, Waiting[]>> = {
    presence: [],
    direct: [],
    members: [],
    fill: [],
  }
  readonly #presences: Window
  readonly #fills: Window
  /** Monotonic time until which Discord wants no such op: RATE_LIMITED. */
  readonly #holds = new Map<number, number>()
  #isReady = false
  #isEnded = false
  #timer: Timer | undefined
  #notReadyTimer: Timer | undefined
  #isAway = false

  /** @param write encodes and hands to the socket. @throws ShardError SHARD_PAYLOAD_TOO_LARGE */
  constructor(clock: Clock, limiter: SendLimiter, write: (op: number, d: unknown) => void) {
    this.#clock = clock
    this.#limiter = limiter
    this.#write = write
    this.#presences = new Window(clock, PRESENCE_UPDATES_MAX, PRESENCE_WINDOW_MS)
    this.#fills = new Window(clock, SEND_EVENTS_MAX / 2, SEND_WINDOW_MS)
    this.#awaitReady()
  }

  /** @throws ShardError SHARD_SEND_QUEUE_FULL, SHARD_NOT_READY */
  submit(command: Command): Ticket {
    if (this.#isEnded || this.#isAway) throw notReady()
    const lane = this.#lanes[command.lane]
    if (command.lane === 'presence') {
      for (const older of lane.splice(0)) older.reject(replaced())
    } else if (lane.length >= WAITING_MAX) {
      const message = `${lane.length} commands already wait for this shard. Send fewer.`
      throw new ShardError('SHARD_SEND_QUEUE_FULL', message, {}, { retryable: true })
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiting = { command, resolve, reject }
    lane.push(waiting)
    this.#drain()
    // Who does not wait for it learns of a refusal by the counter alone.
    promise.catch(() => undefined)
    const position = lane.indexOf(waiting) + 1
    return {
      position,
      waitMs: position === 0 ? 0 : this.#earliestMs(command, position),
      sent: promise,
      withdraw: () => this.#withdraw(waiting),
    }
  }

  /** IDENTIFY carries a presence: it counts as one. */
  presenceSent(): void {
    this.#presences.record()
  }

  /** Discord has answered RATE_LIMITED: no such op for so long. */
  hold(op: number, ms: number): void {
    this.#holds.set(op, this.#clock.monotonic() + ms)
  }

  /** A limit of some command's own has changed. */
  wake(): void {
    this.#drain()
  }

  /** The session is there: what waits goes out as the limits allow. */
  ready(): void {
    if (this.#isEnded) return
    this.#isReady = true
    this.#isAway = false
    this.#clock.clearTimeout(this.#notReadyTimer)
    this.#notReadyTimer = undefined
    this.#drain()
  }

  /** No session at the moment. */
  away(): void {
    if (!this.#isReady) return
    this.#isReady = false
    this.#stopTimer()
    this.#awaitReady()
  }

  /** The shard is stopped, or somebody else's: what waits will not be sent. */
  end(): void {
    this.#isEnded = true
    this.#isReady = false
    this.#stopTimer()
    this.#clock.clearTimeout(this.#notReadyTimer)
    this.#refuseAll()
  }

  /** Commands that wait, by lane. */
  waitingCount(lane: Lane): number {
    return this.#lanes[lane].length
  }

  #awaitReady(): void {
    this.#notReadyTimer = this.#clock.setTimeout(() => {
      this.#isAway = true
      this.#refuseAll()
    }, NOT_READY_MS_MAX)
  }

  #refuseAll(): void {
    for (const lane of LANES) {
      for (const { reject } of this.#lanes[lane].splice(0)) reject(notReady())
    }
  }

  #withdraw(waiting: Waiting): void {
    const lane = this.#lanes[waiting.command.lane]
    const index = lane.indexOf(waiting)
    if (index < 0) return
    lane.splice(index, 1)
    waiting.reject(
      new ShardError('SHARD_COMMAND_WITHDRAWN', 'The command was taken back before it was sent.'),
    )
  }

  #stopTimer(): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #drain(): void {
    if (!this.#isReady) return
    this.#stopTimer()
    for (;;) {
      const waitMs = this.#limiter.waitMs()
      if (waitMs > 0) {
        if (LANES.some((lane) => this.#lanes[lane].length > 0)) this.#arm(waitMs)
        return
      }
      const next = this.#next()
      if (next === null) return
      if (typeof next === 'number') {
        this.#arm(next)
        return
      }
      this.#send(next)
    }
  }

  /** The command that goes next; ms until one may; null when nothing waits. */
  #next(): Waiting | number | null {
    let soonestMs = Number.POSITIVE_INFINITY
    for (const lane of LANES) {
      const queue = this.#lanes[lane]
      if (queue.length === 0) continue
      const laneMs = this.#laneMs(lane)
      if (laneMs > 0) {
        soonestMs = Math.min(soonestMs, laneMs)
        continue
      }
      for (let index = 0; index < queue.length; index++) {
        const waitMs = this.#ownMs(queue[index]!.command)
        if (waitMs <= 0) return queue.splice(index, 1)[0]!
        soonestMs = Math.min(soonestMs, waitMs)
      }
    }
    return soonestMs === Number.POSITIVE_INFINITY ? null : soonestMs
  }

  #laneMs(lane: Lane): number {
    if (lane === 'presence') return this.#presences.waitMs()
    return lane === 'fill' ? this.#fills.waitMs() : 0
  }

  #ownMs({ op, waitMs }: Command): number {
    const heldMs = (this.#holds.get(op) ?? 0) - this.#clock.monotonic()
    return Math.max(0, heldMs, waitMs?.() ?? 0)
  }

  #earliestMs(command: Command, position: number): number {
    const limitMs = this.#limiter.waitMs(position - 1)
    return Math.ceil(Math.max(limitMs, this.#laneMs(command.lane), this.#ownMs(command)))
  }

  #arm(ms: number): void {
    // Rounded up: a timer that fires a moment early would only be set again.
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = undefined
      this.#drain()
    }, Math.ceil(ms))
  }

  #send({ command, resolve, reject }: Waiting): void {
    try {
      this.#write(command.op, command.d)
    } catch (error) {
      if (!(error instanceof ShardError)) throw error
      reject(error)
      return
    }
    this.#limiter.record()
    if (command.lane === 'presence') this.#presences.record()
    if (command.lane === 'fill') this.#fills.record()
    command.onSent?.()
    resolve()
  }
}

export function notReady(): ShardError {
  const message = 'The shard has no session at the moment. Try again when it is ready.'
  return new ShardError('SHARD_NOT_READY', message, {}, { retryable: true })
}

function replaced(): ShardError {
  return new ShardError('SHARD_PRESENCE_REPLACED', 'A newer presence has taken its place.')
}
