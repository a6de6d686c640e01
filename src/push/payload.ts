/**
 * What is pushed for an event: `-payload d | envelope` in `-encoding etf | json | etf-bare`.
 */
import type { ByteArena } from './byte-arena.ts'
import { EtfEnvelopeWriter } from './etf-envelope.ts'
import { JsonWriter } from './json-payload.ts'
import type { PushEvent } from './ports.ts'

export type PayloadForm = 'd' | 'envelope'
/** `etf`: one complete external term; `etf-bare`: the same without its version byte. */
export type PayloadEncoding = 'etf' | 'json' | 'etf-bare'

export interface PayloadWriter {
  /**
   * Writes the event's payload at the arena's end, without taking it.
   *
   * @returns its length in bytes.
   * @throws EtfError when `d` cannot be read as a term (json only).
   */
  write(event: PushEvent, arena: ByteArena): number
  /** A payload that was written, with the mark that it comes late; absent: the form has no room for one. */
  readonly late?: (payload: Uint8Array) => Uint8Array
}

/** First byte of an external term. See Erlang ext_dist. */
export const VERSION_MAGIC = 131
const copy = Buffer.prototype.copy

export function payloadWriter(form: PayloadForm, encoding: PayloadEncoding): PayloadWriter {
  if (encoding === 'json') return new JsonWriter(form)
  const hasVersion = encoding === 'etf'
  return form === 'd' ? bareWriter(hasVersion) : new EtfEnvelopeWriter(hasVersion)
}

function bareWriter(hasVersion: boolean): PayloadWriter {
  const prefixBytes = hasVersion ? 1 : 0
  return {
    write(event, arena) {
      const length = prefixBytes + event.end - event.start
      arena.reserve(length)
      const { bytes, end } = arena
      if (hasVersion) bytes[end] = VERSION_MAGIC
      copy.call(event.bytes, bytes, end + prefixBytes, event.start, event.end)
      return length
    },
  }
}
