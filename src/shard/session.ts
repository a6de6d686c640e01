/** A session of Discord's as one shard holds it, and the URL that its connections open. */
import type { ConnectionQuery, IdentifyWhy, StoredSession } from './ports.ts'

export interface Session {
  readonly sessionId: string
  /** From READY, without query; '' when READY had none that can be used. */
  readonly resumeGatewayUrl: string
  /** The query of the session's first connection: every RESUME repeats it. */
  readonly query: ConnectionQuery
  /** The first sequence that a heartbeat may name: READY's, or the stored one after a take-over. */
  readonly firstSequence: number
}

/** What the sessions of this process look like. */
export interface SessionShape {
  readonly shardCount: number
  readonly intents: number
}

/**
 * Whether a stored session can be resumed by this process.
 *
 * @returns null if it can, else why an identify is needed.
 */
export function identifyReason(
  stored: StoredSession | null,
  shape: SessionShape,
): IdentifyWhy | null {
  if (stored === null) return 'first'
  if (stored.shardCount !== shape.shardCount) return 'shard_count'
  if (stored.intents !== shape.intents) return 'intents'
  return null
}

/** `wss://gateway.discord.gg/?v=10&encoding=etf&compress=zlib-stream` */
export function connectionUrl(base: string, query: ConnectionQuery): string {
  const url = new URL(base)
  url.searchParams.set('v', String(query.v))
  url.searchParams.set('encoding', query.encoding)
  if (query.compress !== 'none') url.searchParams.set('compress', query.compress)
  return url.toString()
}

/**
 * The resume URL as it may be used: a websocket URL, and never in the clear when the generic one is not,
 * because RESUME carries the token.
 *
 * @returns '' for anything else; the generic URL is used then.
 */
export function usableResumeUrl(resumeGatewayUrl: string | null, genericUrl: string): string {
  if (resumeGatewayUrl === null || !URL.canParse(resumeGatewayUrl)) return ''
  const { protocol } = new URL(resumeGatewayUrl)
  if (protocol === 'wss:') return resumeGatewayUrl
  return protocol === 'ws:' && new URL(genericUrl).protocol === 'ws:' ? resumeGatewayUrl : ''
}
