import { rpushHead } from './rpush-command.ts'

/**
 * The lists of one destination, by channel (the number of the event's name): how their command begins,
 * and when a list that was refused is tried again.
 */
export class KeyTable {
  readonly #prefix: string
  readonly #names: readonly string[]
  readonly #onOpen: (channel: number) => void
  readonly #keys: string[] = []
  readonly #heads: Buffer[] = []
  readonly #attempts: number[] = []
  readonly #retryAtMs: number[] = []
  readonly #lengths: number[] = []

  /** @param names event names by number; grows. */
  constructor(options: {
    readonly prefix: string
    readonly names: readonly string[]
    readonly onOpen: (channel: number) => void
  }) {
    this.#prefix = options.prefix
    this.#names = options.names
    this.#onOpen = options.onOpen
  }

  /** Makes the row of a channel that is met for the first time. */
  open(channel: number): void {
    if (this.#heads[channel] !== undefined) return
    const key = this.#prefix + this.#names[channel]!
    this.#keys[channel] = key
    this.#heads[channel] = rpushHead(key)
    this.#attempts[channel] = 0
    this.#retryAtMs[channel] = 0
    this.#lengths[channel] = 0
    this.#onOpen(channel)
  }

  key(channel: number): string {
    return this.#keys[channel]!
  }

  /** What follows the count in the key's RPUSH. */
  head(channel: number): Buffer {
    return this.#heads[channel]!
  }

  /** Refusals in a row; 0 = it takes events. */
  attempts(channel: number): number {
    return this.#attempts[channel]!
  }

  /** When the key may be tried again. */
  retryAtMs(channel: number): number {
    return this.#retryAtMs[channel]!
  }

  /** The list's length as the last RPUSH answered it. */
  length(channel: number): number {
    return this.#lengths[channel]!
  }

  refused(channel: number, retryAtMs: number): void {
    this.#attempts[channel]!++
    this.#retryAtMs[channel] = retryAtMs
  }

  /** @returns whether the key had been refused before. */
  accepted(channel: number, length: unknown): boolean {
    if (typeof length === 'number') this.#lengths[channel] = length
    if (this.#attempts[channel] === 0) return false
    this.#attempts[channel] = 0
    this.#retryAtMs[channel] = 0
    return true
  }

  /** Every refused key may be tried at once. */
  retryAllNow(): void {
    this.#retryAtMs.fill(0)
  }
}
