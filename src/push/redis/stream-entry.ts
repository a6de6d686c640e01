import { ByteBuffer, termToJson } from '../../etf/index.ts'
import type { ByteArena } from '../byte-arena.ts'
import { EventTexts } from '../event-texts.ts'
import { type PayloadEncoding, type PayloadWriter, VERSION_MAGIC } from '../payload.ts'
import type { PushEvent } from '../ports.ts'
import { LENGTH_BYTES_MAX, writeDigits } from './key-form.ts'

export const STREAM_FIELDS = 6
/** What the scratch buffer may keep of a large payload. */
const SCRATCH_BYTES_MAX = 1024 * 1024

const copy = Buffer.prototype.copy
const field = (name: string): Buffer => Buffer.from(`$${name.length}\r\n${name}\r\n`)
const T = field('t')
const S = field('s')
const SHARD = field('shard')
const SESSION = field('session')
const CLASS = field('class')
const D = Buffer.concat([field('d'), Buffer.from('$')])
const NAMES_BYTES = T.length + S.length + SHARD.length + SESSION.length + CLASS.length + D.length
const CR = 0x0d
const LF = 0x0a

/**
 * The fields of a stream's entry as they stand on the wire, so that a flush copies them as they are:
 *
 *   $1 t $14 MESSAGE_CREATE  $1 s $2 42  $5 shard $1 0  $7 session $32 …  $5 class $0  $1 d $1898 …
 */
export class StreamEntryWriter implements PayloadWriter {
  readonly #encoding: PayloadEncoding
  readonly #texts = new EventTexts((text) => {
    const bytes = Buffer.from(text)
    return Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')])
  })
  #scratch = new ByteBuffer()

  constructor(encoding: PayloadEncoding) {
    this.#encoding = encoding
  }

  write(event: PushEvent, arena: ByteArena): number {
    const scratch = this.#scratch
    const isJson = this.#encoding === 'json'
    let dBytes = event.end - event.start + (this.#encoding === 'etf' ? 1 : 0)
    if (isJson) {
      scratch.length = 0
      termToJson(event.bytes, event.start, event.end, scratch)
      dBytes = scratch.length
    }
    const name = this.#texts.name(event.eventName)
    const session = this.#texts.session(event.shardId, event.sessionId)
    const guildClass = this.#texts.name(event.guildClass)
    const s = integer(event.sequence)
    const shard = integer(event.shardId)
    const textBytes = name.length + session.length + guildClass.length + s.length + shard.length
    arena.reserve(NAMES_BYTES + textBytes + LENGTH_BYTES_MAX + dBytes + 2)
    const { bytes, end } = arena
    let pos = end
    pos += T.copy(bytes, pos)
    pos += name.copy(bytes, pos)
    pos += S.copy(bytes, pos)
    pos += bytes.write(s, pos, 'latin1')
    pos += SHARD.copy(bytes, pos)
    pos += bytes.write(shard, pos, 'latin1')
    pos += SESSION.copy(bytes, pos)
    pos += session.copy(bytes, pos)
    pos += CLASS.copy(bytes, pos)
    pos += guildClass.copy(bytes, pos)
    pos += D.copy(bytes, pos)
    pos = writeDigits(bytes, pos, dBytes)
    bytes[pos++] = CR
    bytes[pos++] = LF
    if (isJson) {
      pos += scratch.bytes.copy(bytes, pos, 0, dBytes)
      if (dBytes > SCRATCH_BYTES_MAX) this.#scratch = new ByteBuffer()
    } else {
      if (this.#encoding === 'etf') bytes[pos++] = VERSION_MAGIC
      pos += copy.call(event.bytes, bytes, pos, event.start, event.end)
    }
    bytes[pos++] = CR
    bytes[pos++] = LF
    return pos - end
  }
}

function integer(value: number): string {
  const text = String(value)
  return `$${text.length}\r\n${text}\r\n`
}
