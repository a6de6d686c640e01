/** The data of an IDENTIFY. See [Discord Docs/Gateway Events#identify]. */
import type { ShardSettings } from './shard-deps.ts'

export function identifyPayload(settings: ShardSettings, shardId: number): Record<string, unknown> {
  return {
    token: settings.token.reveal(),
    properties: { os: process.platform, browser: 'gateway', device: 'gateway' },
    // No `compress`: transport compression is chosen in the URL, and the key is for JSON payloads only.
    large_threshold: settings.largeThreshold,
    shard: [shardId, settings.shardCount],
    presence: settings.presence,
    intents: settings.intents,
  }
}
