/**
 * The socket under a connection: writes whole frames, knows what has left the process, drops a reader that
 * takes nothing, and misbehaves on request.
 */
import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../src/base/index.ts'
import { cut, cutStream, fragmentsOf, frameOf } from './wire/frame.ts'

/** How the next messages are cut. `fragments` are websocket's, `segments` TCP's, written `gapMs` apart. */
export interface Split {
  readonly by: 'fragments' | 'segments' | 'messages'
  readonly pieces: number
  readonly gapMs: number
}

const STALL_CHECKS = 4

export class Transport {
  readonly #socket: Duplex
  readonly #clock: Clock
  readonly #stallMs: number
  readonly #onSent: (sequence: number) => void
  readonly #onStall: () => void
  /** Sequences of the frames that are not yet out, -1 for what is no event; a queue with a moving head. */
  #waiting: number[] = []
  #waitingHead = 0
  #sentAtMs = 0
  #stallTimer: Timer | undefined
  #held: Buffer[] | null = null
  #split: Split | null = null
  #splitLeft = 0
  /** Pieces that leave later keep everything behind them waiting. */
  #later: (() => void)[] | null = null
  isSilent = false

  constructor(
    socket: Duplex,
    clock: Clock,
    stallMs: number,
    onSent: (sequence: number) => void,
    onStall: () => void,
  ) {
    this.#socket = socket
    this.#clock = clock
    this.#stallMs = stallMs
    this.#onSent = onSent
    this.#onStall = onStall
  }

  /** One message. @param sequence the event's, -1 for anything else. */
  send(opcode: number, payload: Uint8Array, sequence: number): void {
    if (this.isSilent) return
    if (this.#splitLeft > 0 && this.#split !== null) {
      this.#splitLeft--
      this.#sendSplit(opcode, payload, sequence, this.#split)
      return
    }
    const frame = frameOf(opcode, payload)
    if (this.#later !== null) this.#later.push(() => this.#write(frame, sequence))
    else this.#write(frame, sequence)
  }

  /** The next `count` messages are cut. `messages` needs a stream compression: each piece is a message of its own. */
  split(split: Split, count: number): void {
    this.#split = split
    this.#splitLeft = count
  }

  /** Holds what is written for `ms`, then writes it at once: several messages in one segment. */
  hold(ms: number): void {
    if (this.#held !== null) return
    this.#held = []
    this.#clock.setTimeout(() => this.#release(), ms)
  }

  /** Runs `fn` when no piece of a cut frame is left and nothing is held: another writer's bytes come behind. */
  afterPieces(fn: () => void): void {
    this.#release()
    if (this.#later === null) fn()
    else this.#later.push(fn)
  }

  /** Half open: from now on nothing is written, and nothing read. */
  silence(): void {
    this.isSilent = true
    this.#clock.clearTimeout(this.#stallTimer)
    this.#socket.pause()
  }

  /** Ends TCP without a close frame. */
  drop(): void {
    this.#clock.clearTimeout(this.#stallTimer)
    this.isSilent = true
    this.#socket.destroy()
  }

  close(): void {
    this.#clock.clearTimeout(this.#stallTimer)
  }

  #release(): void {
    const held = this.#held ?? []
    this.#held = null
    if (held.length === 0 || this.isSilent) return
    this.#socket.write(Buffer.concat(held), this.#onWritten(held.length))
  }

  #sendSplit(opcode: number, payload: Uint8Array, sequence: number, split: Split): void {
    let pieces: Uint8Array[]
    if (split.by === 'fragments') pieces = fragmentsOf(opcode, payload, split.pieces)
    else if (split.by === 'segments') pieces = cut(frameOf(opcode, payload), split.pieces)
    else pieces = cutStream(payload, split.pieces).map((piece) => frameOf(opcode, piece))
    this.#later ??= []
    const isIdle = this.#later.length === 0
    pieces.forEach((piece, index) => {
      const bytes = Buffer.from(piece)
      const isLast = index === pieces.length - 1
      this.#later!.push(() => this.#write(bytes, isLast ? sequence : -1))
    })
    if (isIdle) this.#writeLater(split.gapMs)
  }

  #writeLater(gapMs: number): void {
    this.#later?.shift()?.()
    if (this.#later === null || this.#later.length === 0) this.#later = null
    else this.#clock.setTimeout(() => this.#writeLater(gapMs), gapMs)
  }

  #write(frame: Buffer, sequence: number): void {
    if (this.isSilent || this.#socket.destroyed) return
    if (this.#waitingHead === this.#waiting.length) this.#startWaiting()
    this.#waiting.push(sequence)
    if (this.#held !== null) this.#held.push(frame)
    else this.#socket.write(frame, this.#onOneWritten)
  }

  readonly #onOneWritten = (error?: Error | null): void => {
    if (!error) this.#written(1)
  }

  #onWritten(count: number): (error?: Error | null) => void {
    return (error) => {
      if (!error) this.#written(count)
    }
  }

  #written(count: number): void {
    for (let index = 0; index < count; index++) {
      const sequence = this.#waiting[this.#waitingHead++]
      if (sequence !== undefined && sequence >= 0) this.#onSent(sequence)
    }
    this.#sentAtMs = this.#clock.monotonic()
    if (this.#waitingHead < this.#waiting.length) return
    this.#waiting = []
    this.#waitingHead = 0
  }

  #startWaiting(): void {
    this.#sentAtMs = this.#clock.monotonic()
    if (this.#stallTimer === undefined) this.#watch()
  }

  /** Runs while something waits; a reader has stalled when nothing left for the whole time. */
  #watch(): void {
    this.#stallTimer = this.#clock.setTimeout(() => {
      this.#stallTimer = undefined
      if (this.#waitingHead === this.#waiting.length || this.isSilent) return
      if (this.#clock.monotonic() - this.#sentAtMs >= this.#stallMs) this.#onStall()
      else this.#watch()
    }, this.#stallMs / STALL_CHECKS)
  }
}
