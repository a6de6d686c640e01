/** The sentence for a close code that no reconnect heals: what Discord said, and the cure. */
import { ALL_INTENTS, closeCode, intentNames, PRIVILEGED_INTENTS } from '../discord/index.ts'
import { ShardError } from './errors.ts'
import type { ShardSettings } from './shard-deps.ts'

export function fatalError(shardId: number, code: number, settings: ShardSettings): ShardError {
  const entry = closeCode(code)
  const sentences = [
    `Discord closed shard ${shardId} of ${settings.shardCount} with ${code} (${entry?.name ?? 'unknown'}).`,
    entry?.cure ?? '',
    intentsAsked(code, settings.intents),
  ]
  const message = sentences.filter((sentence) => sentence !== '').join(' ')
  return new ShardError('SHARD_CLOSED_FATALLY', message, { shardId, closeCode: code })
}

/** Discord does not say which intent it means, but only some of those asked for can be. */
function intentsAsked(code: number, intents: number): string {
  if (code === 4014) {
    return `Privileged intents asked for: ${intentNames(intents & PRIVILEGED_INTENTS).join(', ')}.`
  }
  if (code !== 4013) return ''
  return `Bits asked for that are no documented intent: ${intentNames(intents & ~ALL_INTENTS).join(', ') || 'none'}.`
}
