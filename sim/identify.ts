/**
 * What Discord looks at in an IDENTIFY before it starts a session, as pure checks.
 * See [Discord Docs/Gateway Events#identify] and [Discord Docs/Opcodes and Status Codes#gateway-close-event-codes].
 */
import { ALL_INTENTS, PRIVILEGED_INTENTS } from '../src/discord/index.ts'
import { isWireMap } from './wire/value.ts'
import type { WireMap, WireValue } from './wire/value.ts'

export interface Identify {
  readonly shardId: number
  readonly shardCount: number
  readonly intents: number
  readonly largeThreshold: number
  /** Payload compression: JSON without transport compression only. */
  readonly compress: boolean
  readonly presence: WireMap | null
}

export interface Refusal {
  readonly code: number
  readonly reason: string
}

export interface IdentifyRules {
  readonly token: string
  readonly enabledIntents: number
  readonly guildsPerShardMax: number
  readonly shardMultiple: number
  /** Discord takes any `compress`: oceanic.js sends its stream's name there. */
  readonly strictCompress: boolean
  /** Guilds of a shard, for 4011. */
  guildCount(shardId: number, shardCount: number): number
}

const LARGE_THRESHOLD_MIN = 50
const LARGE_THRESHOLD_MAX = 250

export function checkIdentify(d: WireValue | undefined, rules: IdentifyRules): Identify | Refusal {
  if (!isWireMap(d)) return decodeError('d is not a map')
  if (typeof d['token'] !== 'string') return decodeError('token is not a string')
  if (!isWireMap(d['properties'])) return decodeError('properties is not a map')
  const { compress = false } = d
  if (rules.strictCompress && typeof compress !== 'boolean') {
    return decodeError('compress is not a boolean')
  }
  const presence = d['presence'] ?? null
  if (presence !== null && !isWireMap(presence)) return decodeError('presence is not a map')
  const largeThreshold = d['large_threshold'] ?? LARGE_THRESHOLD_MIN
  if (
    !isCount(largeThreshold) ||
    largeThreshold < LARGE_THRESHOLD_MIN ||
    largeThreshold > LARGE_THRESHOLD_MAX
  ) {
    return decodeError('large_threshold is not from 50 to 250')
  }
  if (!isToken(d['token'], rules.token)) {
    return { code: 4004, reason: 'Authentication failed.' }
  }
  const shard = shardOf(d['shard'])
  if (shard === null) return { code: 4010, reason: 'Invalid shard.' }
  const [shardId, shardCount] = shard
  if (shardCount % rules.shardMultiple !== 0) return { code: 4010, reason: 'Invalid shard.' }
  const intents = d['intents']
  if (!isCount(intents) || (intents & ~ALL_INTENTS) !== 0 || intents > ALL_INTENTS) {
    return { code: 4013, reason: 'Invalid intent(s).' }
  }
  if ((intents & PRIVILEGED_INTENTS & ~rules.enabledIntents) !== 0) {
    return { code: 4014, reason: 'Disallowed intent(s).' }
  }
  if (rules.guildCount(shardId, shardCount) > rules.guildsPerShardMax) {
    return { code: 4011, reason: 'Sharding required.' }
  }
  return {
    shardId,
    shardCount,
    intents,
    largeThreshold,
    compress: compress === true,
    presence,
  }
}

export interface Resume {
  readonly token: string
  readonly sessionId: string
  readonly seq: number
}

export function checkResume(d: WireValue | undefined): Resume | Refusal {
  if (!isWireMap(d)) return decodeError('d is not a map')
  const { token, session_id: sessionId, seq } = d
  if (typeof token !== 'string') return decodeError('token is not a string')
  if (typeof sessionId !== 'string') return decodeError('session_id is not a string')
  // A client that has lost its number sends null; Discord takes it for 0.
  if (seq !== null && !isCount(seq)) return decodeError('seq is not an integer')
  return { token, sessionId, seq: seq ?? 0 }
}

/** Libraries send the token with and without its prefix; Discord takes both. */
export function isToken(given: string, token: string): boolean {
  return given.replace(/^Bot /, '') === token.replace(/^Bot /, '')
}

export function isRefusal(answer: object): answer is Refusal {
  return 'code' in answer
}

export function isCount(value: WireValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function shardOf(shard: WireValue | undefined): [number, number] | null {
  if (shard === undefined || shard === null) return [0, 1]
  if (!Array.isArray(shard) || shard.length !== 2) return null
  const [id, count] = shard as readonly WireValue[]
  return isCount(id) && isCount(count) && count >= 1 && id < count ? [id, count] : null
}

function decodeError(reason: string): Refusal {
  return { code: 4002, reason: `Error while decoding payload: ${reason}.` }
}
