import type { KeyForm } from './key-form.ts'

/**
 * The keys of one destination, by channel: what is the same in each of their commands, and when a key that
 * was refused is tried again.
 */
export class KeyTable {
  readonly #form: KeyForm
  readonly #names: readonly string[]
  readonly #onOpen: (channel: number) => void
  readonly #keys: string[] = []
  readonly #heads: Buffer[] = []
  readonly #attempts: number[] = []
  readonly #retryAtMs: number[] = []
  readonly #lengths: number[] = []

  /** @param names event names by number; grows. */
  constructor(options: {
    readonly form: KeyForm
    readonly names: readonly string[]
    readonly onOpen: (channel: number) => void
  }) {
    this.#form = options.form
    this.#names = options.names
    this.#onOpen = options.onOpen
  }

  /** Makes the row of a channel that is met for the first time. */
  open(channel: number): void {
    if (this.#heads[channel] !== undefined) return
    const key = this.#form.keyOf(channel, this.#names)
    this.#keys[channel] = key
    this.#heads[channel] = this.#form.head(key)
    this.#attempts[channel] = 0
    this.#retryAtMs[channel] = 0
    this.#lengths[channel] = 0
    this.#onOpen(channel)
  }

  key(channel: number): string {
    return this.#keys[channel]!
  }

  /** What is the same in each command of the key. */
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

  /** The key's length as the last flush answered it. */
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
