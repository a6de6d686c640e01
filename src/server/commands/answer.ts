/** What commands are answered with: the messages of proto/commands.proto, which are the JSON of the Redis list too. */
import type { BaseError } from '../../base/index.ts'
import type { MembersProgress } from '../../shard/index.ts'

export interface CommandAnswer {
  /** -1: the command was refused before it was known which. */
  readonly shard: number
  readonly outcome: 'DONE' | 'REFUSED' | 'QUEUED'
  readonly position?: number
  readonly wait_ms?: number
  readonly code?: string
  readonly reason?: string
}

export interface MembersAnswer {
  readonly shard: number
  readonly outcome: MembersProgress['outcome']
  readonly position?: number
  readonly wait_ms?: number
  readonly code?: string
  readonly reason?: string
  readonly guild_id?: string
  readonly nonce?: string
  readonly rate_limited_until?: number
  readonly chunks?: number
  readonly chunk_count?: number
  readonly members?: number
  readonly not_found?: readonly string[]
}

export interface Refusal {
  readonly outcome: 'REFUSED'
  readonly code: string
  readonly reason: string
  readonly wait_ms: number
}

/** Worth another attempt after this: a reconnect or a hand-over is through by then. */
const RETRY_MS = 5000

export function refusalOf(error: BaseError): Refusal {
  return {
    outcome: 'REFUSED',
    code: error.code,
    reason: error.message.replace(`[${error.code}] `, ''),
    wait_ms: error.retryable ? RETRY_MS : 0,
  }
}

export function membersAnswer(
  shard: number,
  guildId: bigint,
  progress: MembersProgress,
): MembersAnswer {
  const { outcome, nonce, position, waitMs, chunks, chunkCount, members, notFound } = progress
  return {
    shard,
    guild_id: guildId.toString(),
    nonce,
    ...(outcome === 'QUEUED' ? { position, wait_ms: waitMs } : {}),
    ...(progress.rateLimitedUntilMs > 0 ? { rate_limited_until: progress.rateLimitedUntilMs } : {}),
    ...(chunkCount > 0 ? { chunks, chunk_count: chunkCount, members } : {}),
    ...(notFound.length > 0 ? { not_found: notFound } : {}),
    ...(progress.error === null ? { outcome } : refusalOf(progress.error)),
  }
}

/** An answer as another worker's message has it: defaults left out, 64-bit numbers as numbers. */
export function answerFrom<Answer extends CommandAnswer | MembersAnswer>(message: object): Answer {
  const fields = Object.entries(message).map(([name, value]) => [
    name,
    NUMBERS.has(name) ? Number(value) : (value as unknown),
  ])
  const isSet = ([name, value]: unknown[]): boolean =>
    name === 'shard' ||
    (value !== 0 && value !== '' && !(Array.isArray(value) && value.length === 0))
  return Object.fromEntries(fields.filter(isSet) as [string, unknown][]) as unknown as Answer
}

const NUMBERS: ReadonlySet<string> = new Set(['wait_ms', 'rate_limited_until', 'members'])
