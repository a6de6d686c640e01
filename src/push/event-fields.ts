import { FieldReader, integerAt, isTrue, snowflakeAt } from '../etf/index.ts'
import { GUILD_EVENTS } from './guild-reader.ts'

const BINARY_EXT = 109
const BINARY_HEAD_BYTES = 5
const PATHS = ['guild_id', 'id', 'channel_id', 'type', 'author.bot', 'content']
const GUILD_ID = 0
const ID = 1
const CHANNEL_ID = 2
const TYPE = 3
const AUTHOR_BOT = 4
const CONTENT = 5
/** Their own id is the channel's; other events carry channel_id. */
const CHANNEL_EVENTS: ReadonlySet<string> = new Set([
  'CHANNEL_CREATE',
  'CHANNEL_UPDATE',
  'CHANNEL_DELETE',
  'THREAD_CREATE',
  'THREAD_UPDATE',
  'THREAD_DELETE',
])

/** The few fields of an event that filters ask for, found by offset: nothing is decoded that is not asked for. */
export class EventFields {
  readonly #reader = new FieldReader(PATHS)
  #bytes: Uint8Array = Buffer.alloc(0)
  #eventName = ''

  /** Results stand until the next read. A term that cannot be read has no fields. */
  read(eventName: string, bytes: Uint8Array, start: number, end: number): void {
    this.#eventName = eventName
    this.#bytes = bytes
    try {
      this.#reader.read(bytes, start, end)
    } catch {
      this.#reader.starts.fill(-1)
    }
  }

  /** The guild that the event belongs to. */
  get guildId(): bigint | null {
    return (
      this.#snowflake(GUILD_ID) ?? (GUILD_EVENTS.has(this.#eventName) ? this.#snowflake(ID) : null)
    )
  }

  /** The channel or thread that the event belongs to. */
  get channelId(): bigint | null {
    return (
      this.#snowflake(CHANNEL_ID) ??
      (CHANNEL_EVENTS.has(this.#eventName) ? this.#snowflake(ID) : null)
    )
  }

  get type(): number | null {
    const start = this.#reader.starts[TYPE]!
    return start === -1 ? null : integerAt(this.#bytes, start, this.#reader.ends[TYPE]!)
  }

  /** False as well for an event without an author: Discord leaves the field out where it is false. */
  get isAuthorBot(): boolean {
    const start = this.#reader.starts[AUTHOR_BOT]!
    return start !== -1 && isTrue(this.#bytes, start, this.#reader.ends[AUTHOR_BOT]!)
  }

  /** @param prefixes in UTF-8. */
  contentStartsWith(prefixes: readonly Buffer[]): boolean {
    const start = this.#reader.starts[CONTENT]!
    if (start === -1 || this.#bytes[start] !== BINARY_EXT) return false
    const from = start + BINARY_HEAD_BYTES
    const length = this.#reader.ends[CONTENT]! - from
    for (const prefix of prefixes) {
      if (prefix.length > length) continue
      let at = 0
      while (at < prefix.length && prefix[at] === this.#bytes[from + at]) at++
      if (at === prefix.length) return true
    }
    return false
  }

  #snowflake(field: number): bigint | null {
    const start = this.#reader.starts[field]!
    return start === -1 ? null : snowflakeAt(this.#bytes, start, this.#reader.ends[field]!)
  }
}
