import type { Intake } from '../ports.ts'
import { BLOCK_SECONDS, isReplyError, type RedisLink } from './link.ts'
import type { StreamEntry, StreamHeld } from './stream-held.ts'

/** Entries of one read, over all streams. */
const READ_MAX = 100
/** From here on: what the group has not delivered to anybody. */
const UNDELIVERED = '>'

export interface StreamReaderOptions {
  /** A connection of its own: it blocks. */
  readonly link: RedisLink
  readonly commands: RedisLink
  readonly keys: readonly string[]
  readonly group: string
  readonly name: string
  readonly held: StreamHeld
  readonly intake: Intake
  readonly remakeGroups: () => Promise<void>
}

type Answer = readonly (readonly [Buffer, readonly StreamEntry[]])[] | null

/** Reads the group's undelivered entries; after each new connection first those whose answer was lost. */
export class StreamReader {
  readonly #options: StreamReaderOptions
  #isPaused = false
  #reading: Promise<void> = Promise.resolve()

  constructor(options: StreamReaderOptions) {
    this.#options = options
  }

  start(): void {
    this.#reading = this.#read()
  }

  async pause(): Promise<void> {
    this.#isPaused = true
    await this.#options.link.unblockUntil(this.#reading, this.#options.commands)
  }

  async #read(): Promise<void> {
    const { link, intake, keys } = this.#options
    let isNew = true
    while (!this.#isPaused && (await link.untilUp())) {
      try {
        if (isNew) await this.#readDelivered()
        isNew = false
        if (intake.room() === 0) {
          await intake.whenRoom()
          continue
        }
        // COUNT holds for each stream by itself: with less room than streams a few more come.
        const count = Math.max(1, Math.floor(Math.min(intake.room(), READ_MAX) / keys.length))
        const block = ['BLOCK', BLOCK_SECONDS * 1000]
        this.#take(
          await this.#xreadgroup(
            count,
            block,
            keys,
            keys.map(() => UNDELIVERED),
          ),
        )
        link.accepted()
      } catch (error) {
        isNew = true
        if (isReplyError(error) && error.message.includes('NOGROUP')) {
          await this.#options.remakeGroups().catch((failure: unknown) => link.recover(failure))
        } else {
          await link.recover(error)
        }
      }
    }
  }

  /** Entries that the server holds for delivered to us, and whose answer may never have come. */
  async #readDelivered(): Promise<void> {
    for (const key of this.#options.keys) {
      let from = '0'
      for (;;) {
        const entries = (await this.#xreadgroup(READ_MAX, [], [key], [from]))?.[0]?.[1] ?? []
        for (const entry of entries) this.#options.held.take(key, entry)
        const last = entries.at(-1)
        if (last === undefined) break
        from = last[0].toString()
      }
    }
  }

  #take(answer: Answer): void {
    for (const [key, entries] of answer ?? []) {
      for (const entry of entries) this.#options.held.take(key.toString(), entry)
    }
  }

  async #xreadgroup(
    count: number,
    block: readonly (string | number)[],
    keys: readonly string[],
    ids: readonly string[],
  ): Promise<Answer> {
    const { link, group, name } = this.#options
    return (await link.client.callBuffer('XREADGROUP', [
      'GROUP',
      group,
      name,
      'COUNT',
      count,
      ...block,
      'STREAMS',
      ...keys,
      ...ids,
    ])) as Answer
  }
}
