import { type Clock, sleep } from '../../base/index.ts'
import type { Intake } from '../ports.ts'
import { BLOCK_SECONDS, isReplyError, type RedisLink } from './link.ts'

/** LMOVEs in one pipeline, once something came. */
const MOVES_MAX = 64
const CONFIRMS_MAX = 256
/** How often the processing list is compared with what is held. */
const CHECK_MS = 5_000
/** Confirmed events that Redis has not removed yet: with more of them nothing is taken. */
const UNREMOVED_MAX = 4096
const FLUSH_TIMEOUT_MS = 5_000
const FLUSH_RETRY_MS = 20

export interface ListReaderOptions {
  /** A connection of its own: it blocks. */
  readonly link: RedisLink
  /** For what must not wait behind a BLMOVE; shared. */
  readonly commands: RedisLink
  readonly event: string
  readonly source: string
  readonly processing: string
  readonly intake: Intake
  readonly clock: Clock
}

/** An event that stands in the processing list, as far as this process knows. */
interface Held {
  readonly payload: Buffer
  isConfirmed: boolean
}

/**
 * One list: moves its events into the processing list, and removes them there once they are confirmed.
 *
 * An answer that is lost with its connection leaves open whether the command was done. So after each such end
 * the processing list is read and compared: what stands in it and is not held was moved without our knowing.
 * Removals are transactions with a number, which is read as well: a bare `d` may equal another one, so that the
 * list alone does not tell whether it was removed.
 */
export class ListReader {
  readonly #options: ListReaderOptions
  /** In order of taking. */
  readonly #held = new Set<Held>()
  #toRemove: Held[] = []
  /** A removal that was sent and not answered. */
  #uncertain: { readonly number: number; readonly batch: readonly Held[] } | undefined
  #removals = 0
  #removing: Promise<void> | undefined
  /** The processing list is being compared: nothing may change it. */
  #isComparing = false
  #isPaused = false
  #checkAtMs = 0
  #reading: Promise<void> = Promise.resolve()

  constructor(options: ListReaderOptions) {
    this.#options = options
  }

  start(): void {
    this.#reading = this.#read()
  }

  /** Resolves when nothing more will be taken. */
  async pause(): Promise<void> {
    this.#isPaused = true
    await this.#options.link.unblockUntil(this.#reading, this.#options.commands)
  }

  /** Removes what was confirmed. Gives up when Redis stays away: then it comes again. */
  async flush(): Promise<void> {
    const { clock, commands } = this.#options
    const deadline = clock.monotonic() + FLUSH_TIMEOUT_MS
    while (
      (this.#toRemove.length > 0 || this.#uncertain !== undefined) &&
      clock.monotonic() < deadline
    ) {
      if (commands.client.status !== 'ready') {
        await sleep(clock, FLUSH_RETRY_MS)
        continue
      }
      try {
        if (this.#uncertain !== undefined) await this.#compare(commands)
        await (this.#removing ?? this.#remove())
      } catch {
        await sleep(clock, FLUSH_RETRY_MS)
      }
    }
  }

  async #read(): Promise<void> {
    const { link, intake } = this.#options
    let isNew = true
    while (!this.#isPaused && (await link.untilUp())) {
      try {
        if (isNew || this.#uncertain !== undefined || (await this.#hasStrays())) {
          await this.#compare(link)
        }
        isNew = false
        if (this.#toRemove.length > UNREMOVED_MAX) await this.#removing
        else if (intake.room() > 0) await this.#take(intake.room())
        else await intake.whenRoom()
        link.accepted()
      } catch (error) {
        isNew = true
        await link.recover(error)
      }
    }
  }

  async #take(room: number): Promise<void> {
    const { client } = this.#options.link
    const { source, processing } = this.#options
    const keys = [source, processing, 'LEFT', 'RIGHT']
    // Most often there is something: asked for without waiting first.
    const moves = Array.from({ length: Math.min(room, MOVES_MAX) }, () =>
      client.callBuffer('LMOVE', keys),
    )
    // Every answer is looked at, also behind one that failed: what was moved was moved.
    const answers = await Promise.allSettled(moves)
    let count = 0
    for (const answer of answers) {
      if (answer.status === 'fulfilled' && answer.value !== null) {
        this.#hold(answer.value as Buffer)
        count++
      }
    }
    const failed = answers.find((answer) => answer.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    if (count > 0 || this.#isPaused) return
    const payload = await client.callBuffer('BLMOVE', [...keys, BLOCK_SECONDS])
    if (payload !== null) this.#hold(payload as Buffer)
  }

  #hold(payload: Buffer): void {
    const held: Held = { payload, isConfirmed: false }
    this.#held.add(held)
    this.#options.intake.take({
      eventName: this.#options.event,
      stamp: undefined,
      payload,
      confirm: () => {
        if (held.isConfirmed) return
        held.isConfirmed = true
        this.#toRemove.push(held)
        this.#startRemoving()
      },
    })
  }

  #startRemoving(): void {
    if (this.#removing !== undefined || this.#isComparing || this.#uncertain !== undefined) return
    if (this.#toRemove.length === 0) return
    this.#removing = this.#remove().finally(() => {
      this.#removing = undefined
      this.#startRemoving()
    })
  }

  /** One round of LREMs; never rejects. */
  async #remove(): Promise<void> {
    const { commands, processing } = this.#options
    // What is confirmed in the same tick leaves in the same pipeline.
    await new Promise((resolve) => setImmediate(resolve))
    if (!(await commands.untilUp())) {
      this.#toRemove = []
      return
    }
    const batch = this.#toRemove.splice(0, CONFIRMS_MAX)
    if (batch.length === 0) return
    const number = ++this.#removals
    const transaction = commands.client.multi()
    for (const { payload } of batch) transaction.lrem(processing, 1, payload)
    transaction.set(removalsKey(processing), number)
    try {
      await transaction.exec()
      for (const held of batch) this.#held.delete(held)
      commands.accepted()
    } catch (error) {
      // An answer that is an error says that nothing was removed.
      if (isReplyError(error)) this.#toRemove.unshift(...batch)
      else this.#uncertain = { number, batch }
      await commands.recover(error)
    }
  }

  /** Whether the processing list is longer than it can be: a move whose answer never came was done late. */
  async #hasStrays(): Promise<boolean> {
    const { link, clock, processing } = this.#options
    if (clock.monotonic() < this.#checkAtMs) return false
    this.#checkAtMs = clock.monotonic() + CHECK_MS
    const heldBefore = this.#held.size
    return (await link.client.llen(processing)) > heldBefore
  }

  /** Makes what is held and what stands in the processing list the same again. */
  async #compare(link: RedisLink): Promise<void> {
    this.#isComparing = true
    try {
      await this.#removing
      const { processing } = this.#options
      const standing = await link.client.lrangeBuffer(processing, 0, -1)
      if (this.#uncertain !== undefined) {
        const { number, batch } = this.#uncertain
        const isRemoved = Number(await link.client.get(removalsKey(processing))) >= number
        if (isRemoved) for (const held of batch) this.#held.delete(held)
        else this.#toRemove.unshift(...batch)
        this.#uncertain = undefined
      }
      for (const { payload } of this.#held) takeEqual(standing, payload)
      for (const payload of standing) this.#hold(payload)
    } finally {
      this.#isComparing = false
      this.#startRemoving()
    }
  }
}

/** Holds the number of the last removal that was done. */
export function removalsKey(processing: string): string {
  return `${processing}:removals`
}

/** Takes the first equal payload out of the list, if there is one. */
function takeEqual(list: Buffer[], payload: Buffer): void {
  const index = list.findIndex((one) => one.equals(payload))
  if (index !== -1) list.splice(index, 1)
}
