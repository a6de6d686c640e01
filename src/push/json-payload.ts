import { ByteBuffer, termToJson } from '../etf/index.ts'
import type { ByteArena } from './byte-arena.ts'
import { EventTexts } from './event-texts.ts'
import type { PayloadForm, PayloadWriter } from './payload.ts'
import type { PushEvent } from './ports.ts'

/** What the scratch buffer may keep of a large payload. */
const SCRATCH_BYTES_MAX = 1024 * 1024

/** The payload as strict JSON text; `d` is transcoded byte to byte. */
export class JsonWriter implements PayloadWriter {
  readonly #form: PayloadForm
  #scratch = new ByteBuffer()
  readonly #texts = new EventTexts((text) => Buffer.from(JSON.stringify(text)))

  constructor(form: PayloadForm) {
    this.#form = form
  }

  late(payload: Uint8Array): Uint8Array {
    if (this.#form === 'd') return payload
    return Buffer.concat([payload.subarray(0, -1), Buffer.from(',"late":true}')])
  }

  write(event: PushEvent, arena: ByteArena): number {
    const scratch = this.#scratch
    scratch.length = 0
    if (this.#form === 'd') {
      termToJson(event.bytes, event.start, event.end, scratch)
    } else {
      this.#writeEnvelope(event, scratch)
    }
    const { length } = scratch
    arena.reserve(length)
    scratch.bytes.copy(arena.bytes, arena.end, 0, length)
    if (length > SCRATCH_BYTES_MAX) this.#scratch = new ByteBuffer()
    return length
  }

  #writeEnvelope(event: PushEvent, out: ByteBuffer): void {
    append(out, '{"t":')
    appendBytes(out, this.#texts.name(event.eventName))
    append(out, `,"s":${event.sequence},"op":0,"d":`)
    termToJson(event.bytes, event.start, event.end, out)
    append(out, `,"shard":${event.shardId},"shard_count":${event.shardCount},"session_id":`)
    appendBytes(out, this.#texts.session(event.shardId, event.sessionId))
    append(out, ',"class":')
    appendBytes(out, this.#texts.name(event.guildClass))
    append(out, `,"received_at":${event.receivedAtMs}}`)
  }
}

function append(out: ByteBuffer, ascii: string): void {
  out.reserve(ascii.length)
  out.length += out.bytes.write(ascii, out.length, 'latin1')
}

function appendBytes(out: ByteBuffer, bytes: Buffer): void {
  out.reserve(bytes.length)
  out.length += bytes.copy(out.bytes, out.length)
}
