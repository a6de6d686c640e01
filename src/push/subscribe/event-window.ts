import { ByteBuffer, termToJson } from '../../etf/index.ts'
import type { EventNames } from '../event-names.ts'
import type { EventQueue } from '../event-queue.ts'
import type { SubscriptionFilter } from './subscription-filter.ts'
import { EventFields } from '../event-fields.ts'
import { classIn, jsonMessage, numberedMessage, termEnd, termStart } from '../event-message.ts'

/**
 * The ready events of a queue in their order, which all subscribers read, each at its own pace:
 *
 *   ordinal     base            next of B        next of A = end
 *   slots   ··· | 17 | 3 | 8 | 4 | 21 | 9 | 2 | ···        what every subscriber is done with is freed
 *
 * Messages are made once for all subscribers of an encoding, and kept until the last one is done.
 */
const SIZE_MIN = 1024
/** What became of an event: nobody had it yet, somebody has it, somebody's encoding failed, somebody was too slow. */
const OPEN = 0
const TAKEN = 1
const FAILED = 2
const SKIPPED = 3
export type Outcome = 'open' | 'taken' | 'failed' | 'skipped'
const OUTCOMES: readonly Outcome[] = ['open', 'taken', 'failed', 'skipped']

export class EventWindow {
  /** Ordinal of the oldest event. */
  base = 0
  /** Ordinal that the next event gets. */
  end = 0
  readonly #queue: EventQueue
  readonly #names: EventNames
  readonly #max: { readonly events: number; readonly bytes: number }
  #mask = SIZE_MIN - 1
  #slots = new Int32Array(SIZE_MIN)
  /** Bytes of all events before this one, since the start. */
  #bytesBefore = new Float64Array(SIZE_MIN)
  #outcome = new Uint8Array(SIZE_MIN)
  #etf: (Buffer | undefined)[] = []
  #json: (Buffer | null | undefined)[] = []
  #bytes = 0
  readonly #fields = new EventFields()
  /** Whose fields #fields has. */
  #fieldsOf = -1

  /** @param max what the window takes over at most: the rest stays in the queue, where a policy reaches it. */
  constructor(
    queue: EventQueue,
    names: EventNames,
    max: { readonly events: number; readonly bytes: number },
  ) {
    this.#queue = queue
    this.#names = names
    this.#max = max
  }

  /** Takes over what is ready in the queue's only channel. @returns whether there was something. */
  fill(): boolean {
    const queue = this.#queue
    const before = this.end
    while (
      queue.count(0) > 0 &&
      this.end - this.base < this.#max.events &&
      this.bytesFrom(this.base) < this.#max.bytes
    ) {
      if (this.end - this.base > this.#mask) this.#grow()
      const slot = queue.shift(0)
      const index = this.end++ & this.#mask
      this.#slots[index] = slot
      this.#bytesBefore[index] = this.#bytes
      this.#outcome[index] = OPEN
      this.#bytes += queue.lengthOf(slot)
    }
    return this.end > before
  }

  /** Whether the filter lets an event of the window through. */
  isTakenBy(filter: SubscriptionFilter, ordinal: number): boolean {
    const slot = this.#slot(ordinal)
    const name = this.#queue.nameOf(slot)
    const eventName = this.#names.names[name]!
    const hasClass = eventName === 'GUILD_CREATE' || eventName === 'GUILD_DELETE'
    const guildClass = hasClass ? classIn(this.#stored(slot)) : ''
    if (!filter.takesEnvelope(name, eventName, guildClass, this.#queue.shardOf(slot))) return false
    if (!filter.needsFields) return true
    if (this.#fieldsOf !== ordinal) {
      const message = this.#stored(slot)
      this.#fields.read(eventName, message, termStart(message), termEnd(message))
      this.#fieldsOf = ordinal
    }
    return filter.takesFields(this.#fields)
  }

  /**
   * The event as gateway.Event, its number one above its ordinal; null when `d` cannot be written as JSON. Made once,
   * whoever asks. The buffer stays as it is.
   */
  message(ordinal: number, encoding: 'etf' | 'json'): Buffer | null {
    const index = ordinal & this.#mask
    const stored = this.#stored(this.#slots[index]!)
    if (encoding === 'etf') return (this.#etf[index] ??= numberedMessage(stored, ordinal + 1))
    let json = this.#json[index]
    if (json === undefined) {
      json = toJson(stored, ordinal + 1)
      this.#json[index] = json
    }
    return json
  }

  /** Bytes of the events from `ordinal` on. */
  bytesFrom(ordinal: number): number {
    return ordinal === this.end ? 0 : this.#bytes - this.#bytesBefore[ordinal & this.#mask]!
  }

  /** Somebody has the event. */
  markTaken(ordinal: number): void {
    this.#outcome[ordinal & this.#mask] = TAKEN
  }

  /** Somebody cannot have it: it could not be encoded. */
  markFailed(ordinal: number): void {
    const index = ordinal & this.#mask
    if (this.#outcome[index] === OPEN) this.#outcome[index] = FAILED
  }

  /** Somebody was too slow for it. */
  markSkipped(ordinal: number): void {
    const index = ordinal & this.#mask
    if (this.#outcome[index] === OPEN) this.#outcome[index] = SKIPPED
  }

  /** Frees the oldest event; the slot is the caller's to finish. */
  shift(): { readonly slot: number; readonly outcome: Outcome } {
    const index = this.base++ & this.#mask
    this.#etf[index] = undefined
    this.#json[index] = undefined
    if (this.#fieldsOf < this.base) this.#fieldsOf = -1
    return { slot: this.#slots[index]!, outcome: OUTCOMES[this.#outcome[index]!]! }
  }

  #slot(ordinal: number): number {
    return this.#slots[ordinal & this.#mask]!
  }

  #stored(slot: number): Buffer {
    const start = this.#queue.startOf(slot)
    return this.#queue.chunkOf(slot).subarray(start, start + this.#queue.lengthOf(slot))
  }

  #grow(): void {
    const mask = this.#mask * 2 + 1
    const slots = new Int32Array(mask + 1)
    const bytesBefore = new Float64Array(mask + 1)
    const outcome = new Uint8Array(mask + 1)
    const etf: (Buffer | undefined)[] = []
    const json: (Buffer | null | undefined)[] = []
    for (let ordinal = this.base; ordinal < this.end; ordinal++) {
      const from = ordinal & this.#mask
      const to = ordinal & mask
      slots[to] = this.#slots[from]!
      bytesBefore[to] = this.#bytesBefore[from]!
      outcome[to] = this.#outcome[from]!
      etf[to] = this.#etf[from]
      json[to] = this.#json[from]
    }
    this.#mask = mask
    this.#slots = slots
    this.#bytesBefore = bytesBefore
    this.#outcome = outcome
    this.#etf = etf
    this.#json = json
  }
}

function toJson(message: Buffer, number: number): Buffer | null {
  const out = new ByteBuffer()
  try {
    termToJson(message, termStart(message), termEnd(message), out)
  } catch {
    return null
  }
  return jsonMessage(message, out.bytes.subarray(0, out.length), number)
}
