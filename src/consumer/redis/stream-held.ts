import type { EventStamp } from '../event.ts'
import { NO_STAMP } from '../event.ts'
import type { Intake } from '../ports.ts'
import type { RedisLink } from './link.ts'

const CONFIRMS_MAX = 1000
const FLUSH_ATTEMPTS_MAX = 10

/** As Redis answers an entry: its id, and fields and values in turn; null for one that was trimmed. */
export type StreamEntry = readonly [Buffer, readonly Buffer[] | null]

export interface StreamHeldOptions {
  readonly commands: RedisLink
  readonly group: string
  readonly intake: Intake
}

/** The entries that this process has taken, until they are acknowledged. XACK may be sent twice: it names the entry. */
export class StreamHeld {
  readonly #options: StreamHeldOptions
  /** Key → ids of its entries. */
  readonly #ids = new Map<string, Set<string>>()
  #toAck: { readonly key: string; readonly id: string }[] = []
  #acking: Promise<void> | undefined

  constructor(options: StreamHeldOptions) {
    this.#options = options
  }

  has(key: string, id: string): boolean {
    return this.#ids.get(key)?.has(id) === true
  }

  idsOf(key: string): readonly string[] {
    return [...(this.#ids.get(key) ?? [])]
  }

  /** Hands the entry to the intake, unless it is held already. */
  take(key: string, [idBytes, fields]: StreamEntry): void {
    const id = idBytes.toString()
    if (this.has(key, id)) return
    let ids = this.#ids.get(key)
    if (ids === undefined) {
      ids = new Set()
      this.#ids.set(key, ids)
    }
    ids.add(id)
    let isConfirmed = false
    const confirm = (): void => {
      if (isConfirmed) return
      isConfirmed = true
      this.#toAck.push({ key, id })
      this.#startAcking()
    }
    // Trimmed after it was delivered: nobody can have it any more.
    if (fields === null) confirm()
    else this.#options.intake.take({ ...readFields(fields), confirm })
  }

  /** Sends what was confirmed. Gives up when Redis stays away: then it comes again. */
  async flush(): Promise<void> {
    for (let attempt = 0; attempt < FLUSH_ATTEMPTS_MAX && this.#toAck.length > 0; attempt++) {
      if (this.#options.commands.client.status !== 'ready') return
      await (this.#acking ?? this.#ack())
    }
    await this.#acking
  }

  #startAcking(): void {
    if (this.#acking !== undefined || this.#toAck.length === 0) return
    this.#acking = this.#ack().finally(() => {
      this.#acking = undefined
      this.#startAcking()
    })
  }

  /** One round; never rejects. */
  async #ack(): Promise<void> {
    const { commands, group } = this.#options
    // What is confirmed in the same tick leaves in the same pipeline.
    await new Promise((resolve) => setImmediate(resolve))
    if (!(await commands.untilUp())) {
      this.#toAck = []
      return
    }
    const batch = this.#toAck.splice(0, CONFIRMS_MAX)
    const byKey = Map.groupBy(batch, ({ key }) => key)
    try {
      await Promise.all(
        [...byKey].map(([key, list]) =>
          commands.client.xack(key, group, ...list.map(({ id }) => id)),
        ),
      )
      for (const { key, id } of batch) this.#ids.get(key)!.delete(id)
      commands.accepted()
    } catch (error) {
      this.#toAck.unshift(...batch)
      await commands.recover(error)
    }
  }
}

interface EntryEvent {
  readonly eventName: string | null
  readonly stamp: EventStamp | undefined
  readonly payload: Buffer
}

function readFields(fields: readonly Buffer[]): EntryEvent {
  const values = new Map<string, Buffer>()
  for (let index = 0; index + 1 < fields.length; index += 2) {
    values.set(fields[index]!.toString(), fields[index + 1]!)
  }
  const text = (name: string): string | null => values.get(name)?.toString() ?? null
  const number = (name: string): number | null => {
    const value = text(name)
    return value === null || !/^[0-9]{1,16}$/.test(value) ? null : Number(value)
  }
  const eventName = text('t')
  return {
    eventName,
    payload: values.get('d') ?? Buffer.alloc(0),
    stamp: {
      ...NO_STAMP,
      shardId: number('shard'),
      sessionId: text('session'),
      sequence: number('s'),
      guildClass: text('class') ?? '',
    },
  }
}
