/**
 * The heartbeat of one connection: jittered first beat, zombie detection, round-trip time.
 * See [Discord Docs/Gateway#sending-heartbeats].
 */
import type { Clock, Random, Timer } from '../base/index.ts'

export interface HeartbeatCallbacks {
  /** Send op 1 now. */
  onBeat(): void
  /** No ACK came between two beats: the connection is dead although it looks open. */
  onZombie(): void
}

/** setTimeout turns larger delays into 1 ms; no server means more than ten minutes. */
const INTERVAL_MS_MAX = 600_000
/** A timer that fires so late means that our own loop stood still, and the ACK may lie unread. */
const STALL_MS = 1_000
/** How long such a loop gets to read what has arrived. */
const STALL_GRACE_MS = 5_000

export class Heartbeat {
  readonly #clock: Clock
  readonly #random: Random
  readonly #callbacks: HeartbeatCallbacks
  readonly #onTimer = (): void => {
    this.#tick()
  }
  #timer: Timer | undefined
  #intervalMs = 0
  #dueAt = 0
  #sentAt = -1
  #isAwaitingAck = false
  #hasGrace = false
  #rttMs = -1

  constructor(clock: Clock, random: Random, callbacks: HeartbeatCallbacks) {
    this.#clock = clock
    this.#random = random
    this.#callbacks = callbacks
  }

  /** Time between a beat and its ACK in ms; -1 before the first. Survives stop(), for status. */
  get rttMs(): number {
    return this.#rttMs
  }

  get intervalMs(): number {
    return this.#intervalMs
  }

  /** Begins with HELLO's interval; the first beat comes after a random part of it. */
  start(intervalMs: number): void {
    this.stop()
    this.#intervalMs = Math.min(intervalMs, INTERVAL_MS_MAX)
    this.#arm(this.#intervalMs * this.#random())
  }

  stop(): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
    this.#isAwaitingAck = false
    this.#hasGrace = false
  }

  /** Op 11. */
  ack(): void {
    if (!this.#isAwaitingAck) return
    this.#isAwaitingAck = false
    this.#hasGrace = false
    this.#rttMs = this.#clock.monotonic() - this.#sentAt
  }

  #tick(): void {
    const now = this.#clock.monotonic()
    if (this.#isAwaitingAck) {
      if (!this.#hasGrace && now - this.#dueAt > STALL_MS) {
        this.#hasGrace = true
        this.#arm(Math.min(STALL_GRACE_MS, this.#intervalMs))
        return
      }
      this.stop()
      this.#callbacks.onZombie()
      return
    }
    this.#isAwaitingAck = true
    this.#sentAt = now
    this.#arm(this.#intervalMs)
    this.#callbacks.onBeat()
  }

  #arm(ms: number): void {
    this.#dueAt = this.#clock.monotonic() + ms
    this.#timer = this.#clock.setTimeout(this.#onTimer, ms)
  }
}
