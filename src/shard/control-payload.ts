/** What a shard reads from the payloads that are no events, and from READY. */
import { decodeTermAt, FieldReader, isNil, textAt } from '../etf/index.ts'

const READY_FIELDS = new FieldReader(['session_id', 'resume_gateway_url'])

/** HELLO's `heartbeat_interval` in ms; null when it has none that could be kept. */
export function helloIntervalMs(bytes: Uint8Array, dStart: number, dEnd: number): number | null {
  if (dStart === -1) return null
  const d = decodeTermAt(bytes, dStart, dEnd)
  if (d === null || typeof d !== 'object') return null
  const interval = (d as Record<string, unknown>)['heartbeat_interval']
  return typeof interval === 'number' && Number.isFinite(interval) && interval > 0 ? interval : null
}

/** READY's session id and resume URL; null without a session id. */
export function readySession(
  bytes: Uint8Array,
  dStart: number,
  dEnd: number,
): { readonly sessionId: string; readonly resumeGatewayUrl: string | null } | null {
  if (dStart === -1 || READY_FIELDS.read(bytes, dStart, dEnd) < 0) return null
  const sessionId = fieldText(bytes, 0)
  if (sessionId === null || sessionId === '') return null
  return { sessionId, resumeGatewayUrl: fieldText(bytes, 1) }
}

function fieldText(bytes: Uint8Array, index: number): string | null {
  const start = READY_FIELDS.starts[index]!
  const end = READY_FIELDS.ends[index]!
  return start < 0 || isNil(bytes, start, end) ? null : textAt(bytes, start, end)
}
