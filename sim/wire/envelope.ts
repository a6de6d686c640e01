/**
 * The gateway's envelope around `d`, in ETF and in JSON.
 *
 *   131 | 116 | 4 | d → term | op → 97 n | s → integer or nil | t → atom or nil
 *
 * Up to OTP 25 Erlang sorts a small map's atom keys, which gives d, op, s, t; since OTP 26 the order is any,
 * but steady for a node. See [Discord Docs/Gateway Events#payload-structure].
 */
import type { EtfWriter } from './etf-writer.ts'

export const KEY_ORDERS = ['d,op,s,t', 'op,s,t,d', 't,s,op,d', 's,op,d,t', 'op,d,s,t'] as const
export type KeyOrder = (typeof KEY_ORDERS)[number]

export interface EnvelopeFields {
  readonly op: number
  /** `d` as a term without version byte, or as JSON text; null is nil; absent leaves the key out. */
  readonly d: Buffer | string | null | undefined
  /** Absent leaves the key out. */
  readonly s: number | null | undefined
  readonly t: string | null | undefined
}

/** Writes one whole payload over the writer's content. */
export function writeEtfEnvelope(
  writer: EtfWriter,
  order: readonly string[],
  fields: EnvelopeFields,
): void {
  const { d, s, t } = fields
  writer.length = 0
  writer.byte(131)
  writer.mapHead(
    1 + (d === undefined ? 0 : 1) + (s === undefined ? 0 : 1) + (t === undefined ? 0 : 1),
  )
  for (const key of order) {
    if (key === 'op') {
      writer.key('op')
      writer.number(fields.op)
    } else if (key === 'd' && d !== undefined) {
      writer.key('d')
      if (d === null) writer.nil()
      else writer.raw(d as Buffer)
    } else if (key === 's' && s !== undefined) {
      writer.key('s')
      if (s === null) writer.nil()
      else writer.number(s)
    } else if (key === 't' && t !== undefined) {
      writer.key('t')
      if (t === null) writer.nil()
      else writer.eventName(t)
    }
  }
}

export function jsonEnvelope(order: readonly string[], fields: EnvelopeFields): string {
  const parts: string[] = []
  for (const key of order) {
    if (key === 'op') parts.push(`"op":${fields.op}`)
    else if (key === 'd' && fields.d !== undefined) parts.push(`"d":${String(fields.d)}`)
    else if (key === 's' && fields.s !== undefined) parts.push(`"s":${fields.s}`)
    else if (key === 't' && fields.t !== undefined) parts.push(`"t":${JSON.stringify(fields.t)}`)
  }
  return `{${parts.join(',')}}`
}
