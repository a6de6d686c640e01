/** The world's own time and the snowflakes dated by it. See [Discord Docs/API Reference#snowflakes]. */
import { DISCORD_EPOCH_MS } from '../../src/discord/index.ts'
import type { Dice } from './dice.ts'

/** 2016-01-01: every snowflake of the world is younger, so that all need more than 53 bits. */
const OLDEST_MS = 1_451_606_400_000

export class Timeline {
  readonly #dice: Dice
  #nowMs: number
  #increment = 0

  constructor(dice: Dice, startMs: number) {
    this.#dice = dice
    this.#nowMs = startMs
  }

  get nowMs(): number {
    return this.#nowMs
  }

  advance(ms: number): void {
    this.#nowMs += ms
  }

  /** A new snowflake, dated now. */
  id(): bigint {
    return this.idAt(this.#nowMs)
  }

  /** A new snowflake with this date: 42 bits of time, 5 of worker, 5 of process, 12 of increment. */
  idAt(ms: number): bigint {
    this.#increment = (this.#increment + 1) & 0xfff
    const low = (this.#dice.int(0, 1023) << 12) | this.#increment
    return ((BigInt(Math.floor(ms)) - DISCORD_EPOCH_MS) << 22n) | BigInt(low)
  }

  /** A moment between 2016 (or `afterMs`) and now. */
  past(afterMs: number = OLDEST_MS): number {
    return Math.floor(afterMs + this.#dice.random() * Math.max(0, this.#nowMs - afterMs))
  }

  /** ISO 8601 as Discord writes it: microseconds and an offset. */
  iso(ms: number = this.#nowMs): string {
    return new Date(ms).toISOString().replace('Z', '000+00:00')
  }
}
